"""One part of a round: which points may have to move, and what is known of them.

Most points are unchanged on both sides by their versions; only the others are read (`suspects`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from teal.domain import keys as k
from teal.domain.columns import NO_DIGEST, UNKNOWN, Columns, aligned, columns_of
from teal.domain.epoch import Scan
from teal.domain.in_step import is_loss
from teal.domain.keys import Keys
from teal.domain.point_state import State, States
from teal.migration.sync.side import Evidence, RoundSide


@dataclass(eq=False)
class Suspects:
    """Some points: for each, and for each side, its state, the digest in the ledger, and the version now."""

    keys: Keys
    states: tuple[States, States]
    known: tuple[Columns, Columns]
    seen: tuple[Columns, Columns]

    def __len__(self) -> int:
        return len(self.keys)

    def batches(self, size: int) -> Iterator[Suspects]:
        """The same, at most `size` points at once."""
        for start in range(0, len(self.keys), size):
            part = slice(start, start + size)
            keys = k.take(self.keys, part)
            yield Suspects(
                keys,
                (self.states[0][part], self.states[1][part]),
                (_at(self.known[0], keys), _at(self.known[1], keys)),
                (_at(self.seen[0], keys), _at(self.seen[1], keys)),
            )


@dataclass(eq=False)
class PartWork:
    """What has to be done in one part. The first of each two is the newer side, which serves.

    `before`: the scans after which the part was last in step. `pending` are batches, of which `under_way` have
    been taken and are not done. `lost`: so much has gone from a side at once that the other one keeps it.
    """

    part: int
    restored: bool
    evidence: tuple[Evidence, Evidence]
    seen: tuple[list[Columns], list[Columns]]
    pending: deque[Suspects] = field(default_factory=deque)
    under_way: int = 0
    before: tuple[Scan | None, Scan | None] = (None, None)
    lost: tuple[int, int] = (0, 0)
    recorded: tuple[list[Columns], list[Columns]] = field(default_factory=lambda: ([], []))
    dropped: tuple[list[Keys], list[Keys]] = field(default_factory=lambda: ([], []))
    leftover: bool = False

    def record(self, side: int, keys: Keys, versions: list[int], digests: list[int]) -> None:
        """In step now, at these versions and with these contents."""
        self.record_rows(side, columns_of(keys, versions, np.array(digests, np.uint64)))

    def record_rows(self, side: int, rows: Columns) -> None:
        """The same, of rows."""
        if len(rows):
            self.recorded[side].append(rows)

    def drop(self, side: int, keys: Keys) -> None:
        """Not there any more."""
        if len(keys):
            self.dropped[side].append(keys)


async def compared(
    part: int, sides: tuple[RoundSide, RoundSide], size: int, still_open: Keys, *, restored: bool
) -> PartWork:
    """The work of one part, in batches of `size`, given that both sides' scans stand at it.

    What is `still_open` is looked at whatever its versions say.
    """
    seen_of = [await side.next() for side in sides]
    judged = [
        await side.evidence(part, seen, restored=restored) for side, seen in zip(sides, seen_of, strict=True)
    ]
    work = PartWork(part, restored, (judged[0][0], judged[1][0]), (judged[0][1], judged[1][1]))
    work.before = sides[0].before(work.evidence[0], part), sides[1].before(work.evidence[1], part)
    gone, left = [0, 0], [sum(map(len, seen)) for seen in work.seen]
    for rows in aligned(
        sides[0].ledger.rows(part), iter(work.seen[0]), sides[1].ledger.rows(part), iter(work.seen[1])
    ):
        _look(work, rows, size, still_open, gone)
        await asyncio.sleep(0)
    work.lost = tuple(count if is_loss(count, rest) else 0 for count, rest in zip(gone, left, strict=True))  # type: ignore[assignment]
    return work


def _look(work: PartWork, rows: tuple[Columns, ...], size: int, still_open: Keys, gone: list[int]) -> None:
    known, seen = (rows[0], rows[2]), (rows[1], rows[3])
    keys = columns_of(k.joined(columns.keys for columns in rows)).keys
    states = tuple(
        evidence.states(keys, then, now) for evidence, then, now in zip(work.evidence, known, seen, strict=True)
    )
    here, there = (k.locate(keys, now.keys)[1] for now in seen)
    for side, (then, now, others) in enumerate(zip(known, (here, there), (there, here), strict=True)):
        gone[side] += int(np.count_nonzero(k.locate(keys, then.keys)[1] & ~now & others))
    quiet = (states[0] == State.UNCHANGED) & (states[1] == State.UNCHANGED)
    quiet &= ~k.locate(keys, still_open)[1]
    if work.restored:
        for side in (0, 1):
            work.recorded[side].append(_at(seen[side], k.take(keys, quiet)))
    suspect = k.take(keys, ~quiet)
    if len(suspect):
        found = Suspects(suspect, (states[0][~quiet], states[1][~quiet]), known, seen)
        work.pending.extend(found.batches(size))


def _at(columns: Columns, keys: Keys) -> Columns:
    """The rows with these sorted keys."""
    return columns.take(k.locate(columns.keys, keys)[1])


def values_at(columns: Columns, keys: Keys) -> tuple[list[int], list[int], list[bool]]:
    """For each of `keys`: version, digest, and whether there is a row."""
    rows, there = k.locate(keys, columns.keys)
    versions = np.full(len(keys), UNKNOWN, np.int64)
    digests = np.full(len(keys), NO_DIGEST, np.uint64)
    versions[there], digests[there] = columns.versions[rows[there]], columns.digests[rows[there]]
    return versions.tolist(), digests.tolist(), there.tolist()
