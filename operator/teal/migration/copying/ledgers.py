"""The ledgers of both sides of a copy, gone over together, range by range, in step with a scan of one of them.

Invariant: every point that the target holds has a row in both, so what the source loses is noticed. `seeded` says
so; whoever copies and cannot note it (a process that stops, a pass that is given up) takes it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from teal.domain import keys as k
from teal.domain.columns import EMPTY, NO_DIGEST, UNKNOWN, Columns, Digests, columns_of
from teal.domain.keys import Keys
from teal.migration.copying.scratch import Scratch
from teal.migration.copying.side_ledger import Change, Rewrite, SideLedger
from teal.qdrant.feed import Part


@cache
def _scratch() -> Scratch:
    """This process's folder for ledgers, found when it is first needed."""
    return Scratch()


@dataclass
class Ledgers:
    """Both sides of a copy, in the same parts: what was read from the source, and what was written to the target.

    Attributes:
        source: the versions and digests of the points that the target holds, as the source had them.
        target: the same points with the digests of what was written; with versions once they were read there.
        seeded: whether all that the target holds has a row.
        given_up: what was copied of a range that was left open, which has no rows: as it was read, and the digests
            of what was written.
    """

    source: SideLedger
    target: SideLedger
    seeded: bool = False
    given_up: tuple[Columns, Columns] = (EMPTY, EMPTY)

    @classmethod
    def new(cls, total: int, buckets: int) -> Ledgers:
        """Nothing is known yet, in `total` parts."""
        return cls(SideLedger(_scratch(), total, buckets), SideLedger(_scratch(), total, buckets))

    @property
    def total(self) -> int:
        return self.source.total

    def give_up(self, left: Range | None) -> None:
        """What was copied of an open range has no row yet, so it must be looked for on the target."""
        self.seeded = False
        if left is not None:
            self.given_up = whole(left.read), whole(left.written)

    def copied_before(self, read: Columns) -> Digests:
        """Of points whose contents were read: the digests of what was written for them before a range was given
        up; `NO_DIGEST` where nothing was, or where the content has changed since.
        """
        found = np.full(len(read), NO_DIGEST, np.uint64)
        then, written = self.given_up
        rows, there = k.locate(read.keys, then.keys)
        there[there] = then.digests[rows[there]] == read.digests[there]
        rows, noted = k.locate(read.keys, written.keys)
        there &= noted & (read.digests != NO_DIGEST)
        found[there] = written.digests[rows[there]]
        return found

    def drop(self) -> None:
        """Free the disk space."""
        self.source.drop()
        self.target.drop()


@dataclass(eq=False)
class Range:
    """A range of one part: what a scan has seen there, what was known of both sides, and what was done since."""

    seen: Part
    source: list[Columns]
    target: list[Columns]
    read: list[Columns] = field(default_factory=list)
    written: list[Columns] = field(default_factory=list)
    gone: deque[Keys] = field(default_factory=deque)
    dropped: list[Keys] = field(default_factory=list)

    def note(self, read: Columns, written: Digests | None = None) -> None:
        """The target holds these points now, as they were read; `written` are the digests of what was written."""
        self.read.append(read)
        digests = np.full(len(read), NO_DIGEST, np.uint64) if written is None else written
        self.written.append(replace(blank(read.keys), digests=digests))

    def note_read(self, read: Columns) -> None:
        """These points were read again, and the target holds them as before."""
        self.read.append(read)


class Cursor:
    """Goes over both ledgers once. Ranges come in the order of a `PartScan`."""

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers = ledgers
        self._rewrites: tuple[Rewrite, Rewrite] | None = None

    def open(self, seen: Part) -> Range:
        """The range that `seen` is of, with what is known there.

        Raises:
            ScratchLostError: nothing is known any more.
        """
        if self._rewrites is None:
            part = seen.slice.index
            self._rewrites = self._ledgers.source.rewrite(part), self._ledgers.target.rewrite(part)
        source, target = self._rewrites
        return Range(seen, list(source.known(seen.upto)), list(target.known(seen.upto)))

    async def close(self, done: Range) -> None:
        """Note what was done in this range."""
        if self._rewrites is None:
            raise LookupError("no range is open")
        gone = k.joined(done.dropped)
        source, target = self._rewrites
        await source.put(done.source, Change(gone, whole(done.read)))
        await target.put(done.target, Change(gone, whole(done.written)))
        if done.seen.upto is None:
            source.finish()
            target.finish()
            self._rewrites = None


def whole(parts: Iterable[Columns]) -> Columns:
    """Sorted columns as one, of which none has a key of another."""
    found = [part for part in parts if len(part)]
    if len(found) < 2:
        return found[0] if found else EMPTY
    return columns_of(
        k.joined(part.keys for part in found),
        np.concatenate([part.versions for part in found]),
        np.concatenate([part.digests for part in found]),
    )


def blank(keys: Keys) -> Columns:
    """Points of which nobody knows version or content."""
    return Columns(keys, np.full(len(keys), UNKNOWN, np.int64), np.full(len(keys), NO_DIGEST, np.uint64))
