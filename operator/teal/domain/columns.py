"""Points as sorted columns: key, version and content digest, 33 bytes a point in memory and no object for any.

Millions of points never stand in one array. They pass as *streams*: sorted `Columns` of at most `PIECE` rows, one
after the other, each beginning above the end of the one before. Two streams are compared by `aligned`, which cuts
them at the same keys; so all work is done on small pieces, a piece takes some milliseconds, and an event loop can
turn between two of them.

Invariant: the keys of `Columns` ascend and none occurs twice. A version or a digest that nobody knows has a value
of its own (`UNKNOWN`, `NO_DIGEST`) and is never taken for equal to anything, itself included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from teal.domain import keys as k
from teal.domain.keys import Keys, Mask, Rows

Number = TypeVar("Number", np.int64, np.uint64)
Versions = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]

UNKNOWN: Final = -1
"""The version of a point that is there, at nobody knows which version."""
NO_DIGEST: Final = 0
"""The digest of a content that nobody has looked at."""
CONTENT: Final = 1 << 62
"""A version of at least this much is a digest of a point's content, of a server that tells no sequence number."""
PIECE: Final = 16_384
MIN_APART: Final = 64
"""Of so many points of a page at most one is looked at to find out where to cut."""


def is_content(version: int) -> bool:
    """Whether it stands for what the point holds, not for when it changed: equal content, equal version."""
    return version >= CONTENT


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Some points of a collection: where one stands in `keys`, its version and digest stand in the others."""

    keys: Keys
    versions: Versions
    digests: Digests

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Rows | Mask | slice) -> Columns:
        """These rows, which have to be in ascending order."""
        return Columns(k.take(self.keys, rows), self.versions[rows], self.digests[rows])


def columns_of(keys: Keys, versions: npt.ArrayLike | None = None, digests: npt.ArrayLike | None = None) -> Columns:
    """Columns of points that come in any order, for at most some ten thousand at a time (else `Gathered`).

    A point that comes twice with two versions has none: a copy of it was caught on the move, and either number may
    be the wrong one.
    """
    count = len(keys)
    given = np.full(count, UNKNOWN, np.int64) if versions is None else np.asarray(versions, np.int64)
    hashes = np.full(count, NO_DIGEST, np.uint64) if digests is None else np.asarray(digests, np.uint64)
    rows = k.order(keys)
    return _without_repeats(Columns(k.take(keys, rows), given[rows], hashes[rows]))


EMPTY: Final = Columns(k.NO_KEYS, np.empty(0, np.int64), np.empty(0, np.uint64))


def pieces(columns: Columns, size: int = PIECE) -> Iterator[Columns]:
    """The same points as a stream."""
    for start in range(0, len(columns), size):
        yield columns.take(slice(start, start + size))


def together(stream: Iterable[Columns]) -> Columns:
    """A stream in one piece: for few points, and for tests."""
    parts = [EMPTY, *stream]
    return Columns(
        k.joined(part.keys for part in parts),
        np.concatenate([part.versions for part in parts]),
        np.concatenate([part.digests for part in parts]),
    )


def aligned(*streams: Iterable[Columns]) -> Iterator[tuple[Columns, ...]]:
    """Streams side by side: each row of the result holds what every one of them has in the same range of keys.

    The ranges cover everything and do not overlap, so a key that several streams have is in one row.
    """
    sources = [filter(len, stream) for stream in streams]
    heads = [next(source, EMPTY) for source in sources]
    while any(map(len, heads)):
        last = min(k.key_bytes(head.keys, -1) for head in heads if len(head))
        row = []
        for place, head in enumerate(heads):
            cut = k.count_up_to(head.keys, last) if len(head) else 0
            row.append(head.take(slice(0, cut)))
            heads[place] = head.take(slice(cut, None)) if cut < len(head) else next(sources[place], EMPTY)
        yield tuple(row)


def merged(*streams: Iterable[Columns]) -> Iterator[Columns]:
    """Streams as one. A point that several have at different versions has none (`columns_of`)."""
    for row in aligned(*streams):
        filled = [part for part in row if len(part)]
        if len(filled) == 1:
            yield filled[0]
        else:
            whole = together(filled)
            yield _without_repeats(whole.take(k.merge_order(whole.keys)))


class Gathered:
    """The points of one slice as they arrive, in any order, to be read as a stream when all are there.

    Each page is sorted when it arrives, and the pages are brought together a piece at a time while they are read;
    so no step is long. Points that arrive in order, page after page, are not brought together at all.
    """

    def __init__(self) -> None:
        self._pages: list[Columns] = []
        self._waiting: list[tuple[Keys, Versions]] = []
        self._rows = 0

    def add(self, keys: Keys, versions: npt.ArrayLike | None = None) -> None:
        """One page of what was seen."""
        given = np.full(len(keys), UNKNOWN, np.int64) if versions is None else np.asarray(versions, np.int64)
        for start in range(0, len(keys), PIECE):
            part = slice(start, start + PIECE)
            self._waiting.append((k.take(keys, part), given[part]))
            self._rows += len(given[part])
            if self._rows >= PIECE:
                self._sort()

    def stream(self) -> Iterator[Columns]:
        """All points in order. It can be read again."""
        self._sort()
        pages = self._pages
        if all(k.key_bytes(one.keys, -1) < k.key_bytes(next_.keys, 0) for one, next_ in pairwise(pages)):
            return iter(pages)
        return _brought_together(pages)

    def _sort(self) -> None:
        if not self._rows:
            return
        keys, versions = zip(*self._waiting, strict=True)
        self._waiting, self._rows = [], 0
        self._pages.append(columns_of(k.joined(keys), np.concatenate(versions)))


def _brought_together(pages: Sequence[Columns]) -> Iterator[Columns]:
    """Sorted pages that overlap, as a stream: first where to cut them all, then one piece after the other."""
    apart = max(MIN_APART, PIECE // (2 * len(pages)))
    samples = k.joined(k.take(page.keys, slice(None, None, apart)) for page in pages)
    ends = k.take(samples, k.order(samples)[PIECE // apart :: PIECE // apart])
    cuts = [(0, *k.cuts(page.keys, ends).tolist(), len(page)) for page in pages]
    for number in range(len(ends) + 1):
        whole = together(
            page.take(slice(*cut[number : number + 2])) for page, cut in zip(pages, cuts, strict=True)
        )
        if len(whole):
            yield _without_repeats(whole.take(k.order(whole.keys)))


def _without_repeats(columns: Columns) -> Columns:
    """Of sorted rows, in which a key may occur several times, one for each key."""
    same = k.repeats(columns.keys)
    if not same.any():
        return columns
    first = ~same
    rows = np.flatnonzero(first)
    one = columns.take(first)
    return Columns(one.keys, _agreed(columns.versions, rows, UNKNOWN), _agreed(columns.digests, rows, NO_DIGEST))


def _agreed(values: npt.NDArray[Number], starts: Rows, otherwise: int) -> npt.NDArray[Number]:
    """The value of each group that begins at `starts`, where all of it have the same one."""
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return np.where(low == high, low, values.dtype.type(otherwise))
