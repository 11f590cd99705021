"""What one collection is known to hold, part by part, in scratch files: the ledger of one side.

A part is a slice of the ids, or all of them where the server has no slices. A pass goes over the parts in order,
and writes each anew (`Rewrite`): what was known, less what is gone, with what was recorded. Beside the rows stand
the circumstances (`epoch.Scan`) from which the versions of a part are (`None`: no version can be compared), and
sums by bucket over the contents and over the versions of all rows.

Invariants: every point that the target of a copy holds has a row. What was recorded is in the file or is
`incomplete`: then the ids of the target are read again before the next pass (`seed`). A file that is lost makes
the whole ledger lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from teal.domain import keys as k
from teal.domain.buckets import Buckets
from teal.domain.columns import EMPTY, Columns, aligned, columns_of, pieces
from teal.domain.epoch import Scan
from teal.domain.keys import Keys
from teal.domain.ledger import forget, held, record
from teal.migration.copying.scratch import Scratch, ScratchLostError, Stored, Writer


@dataclass(frozen=True, eq=False)
class Change:
    """What was found out about a range of points: no longer there; there with these versions and digests."""

    gone: Keys = field(default_factory=lambda: k.NO_KEYS)
    recorded: Columns = field(default_factory=lambda: EMPTY)

    def __bool__(self) -> bool:
        return bool(len(self.gone) or len(self.recorded))


def by_version(columns: Columns) -> Columns:
    """The same points with their versions in place of the digests, for sums over versions."""
    return replace(columns, digests=(columns.versions + 1).astype(np.uint64))


class SideLedger:
    """The rows of one collection in `total` parts, and their sums in `buckets` buckets."""

    def __init__(self, scratch: Scratch, total: int, buckets: int) -> None:
        self.scratch = scratch
        self._parts: list[Stored] = [scratch.writer().finish() for _ in range(total)]
        self.scans: list[Scan | None] = [None] * total
        self.incomplete: set[int] = set()
        """The parts in which points may have no row: an application has written them to both sides."""
        self.contents = Buckets(max(total, buckets))
        self.versions = Buckets(max(total, buckets))
        self._torn = False

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @property
    def total(self) -> int:
        return len(self._parts)

    def rows(self, part: int) -> Iterator[Columns]:
        """What is known of one part.

        Raises:
            ScratchLostError: nothing is known any more.
        """
        if self._torn:
            raise ScratchLostError("the ledger was left half-written")
        return self._parts[part].stream()

    async def all_rows(self) -> AsyncIterator[Columns]:
        """What is known of all parts, a piece at a time."""
        for part in range(self.total):
            for piece in self.rows(part):
                yield piece
                await asyncio.sleep(0)

    def rewrite(self, part: int) -> Rewrite:
        """Go over one part, range by range, and note what has changed."""
        return Rewrite(self, part)

    def begin_writing(self) -> Writer:
        """Until `finish_writing` the sums are ahead of the rows: giving up in between leaves a torn ledger."""
        self._torn = True
        return self.scratch.writer()

    def finish_writing(self, part: int, stored: Stored) -> None:
        """These are the rows of one part from now on."""
        self._parts[part].drop()
        self._parts[part] = stored
        self._torn = False

    def sum_up(self, *, removed: Iterable[Columns], added: Columns) -> None:
        """Keep the sums up to date."""
        for columns in removed:
            self.contents.remove(columns)
            self.versions.remove(by_version(columns))
        self.contents.add(added)
        self.versions.add(by_version(added))

    def stored(self, part: int) -> Stored:
        """The rows of one part as they are stored now."""
        return self._parts[part]

    def drop(self) -> None:
        """Free the disk space."""
        for part in self._parts:
            part.drop()


class Rewrite:
    """One part, from its first range of keys to its last. Nothing is written while nothing has changed."""

    def __init__(self, ledger: SideLedger, part: int) -> None:
        self._ledger, self._part = ledger, part
        self._known = ledger.rows(part)
        self._head: Columns = EMPTY
        self._passed = 0
        self._writer: Writer | None = None

    def known(self, upto: bytes | None) -> Iterator[Columns]:
        """The rows of the next range, which ends with the key `upto`; all that are left if it is `None`."""
        while True:
            if not len(self._head):
                self._head = next(self._known, EMPTY)
            if not len(self._head):
                return
            cut = len(self._head) if upto is None else k.count_up_to(self._head.keys, upto)
            piece, self._head = self._head.take(slice(0, cut)), self._head.take(slice(cut, None))
            if cut:
                yield piece
            if len(self._head):
                return

    async def put(self, known: Sequence[Columns], change: Change) -> None:
        """The range whose rows were `known` has changed so."""
        if not change and self._writer is None:
            self._passed += sum(map(len, known))
            return
        writer = self._writer = self._writer or await self._begun()
        gone = columns_of(change.gone)
        for row, less, more in aligned(known, pieces(gone), pieces(change.recorded)):
            left = forget(row, less.keys)
            self._ledger.sum_up(removed=(held(row, less.keys), held(left, more.keys)), added=more)
            writer.append(record(left, more))
            await asyncio.sleep(0)

    def finish(self) -> None:
        """The whole part was gone over."""
        if self._writer is not None:
            self._ledger.finish_writing(self._part, self._writer.finish())

    async def _begun(self) -> Writer:
        """A writer that has the ranges that were passed unchanged."""
        earlier, left = self._ledger.rows(self._part), self._passed
        writer = self._ledger.begin_writing()
        while left > 0:
            piece = next(earlier).take(slice(0, left))
            writer.append(piece)
            left -= len(piece)
            await asyncio.sleep(0)
        return writer
