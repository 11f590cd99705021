"""What a collection holds, summed up in a few kilobytes that survive a crash.

Each point belongs to a bucket by its id. Of each bucket two sums modulo 2⁶⁴ are kept: one over the ids, one over
the ids with their content digests. Sums do not depend on the order of points or on how they were grouped, and a
point is taken out by subtracting what it added, so they are kept up to date with every change.

Invariant: equal sums mean equal points. Two different contents of a bucket have equal sums with a probability of
2⁻⁶⁴ (for contents that nobody chose in order to deceive: whoever can write points needs no collision for that);
one single change, or one missing point, is always seen. A point whose content nobody has looked at makes the
contents of its bucket unproven, which is never equal to anything.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from teal.domain import keys as k
from teal.domain.columns import NO_DIGEST, Columns
from teal.domain.keys import Keys, Mask, Rows, Words
from teal.domain.slices import slice_of

MIN_BUCKETS: Final = 16
MAX_BUCKETS: Final = 1024
POINTS_PER_BUCKET: Final = 500
_STEP: Final = 0x9E3779B97F4A7C15
_CONTENT: Final = 0xD1B54A32D192ED03


def buckets_for(points: int) -> int:
    """How many buckets suit a collection of `points` points: fine enough to resume, small enough to store.

    Always a power of two, so that every bucket lies within one slice of a scan by fewer slices.
    """
    wanted = max(MIN_BUCKETS, min(MAX_BUCKETS, points // POINTS_PER_BUCKET))
    return 1 << (wanted.bit_length() - 1)


def id_hashes(keys: Keys) -> Words:
    """64 bits for each id, which look random. This is what a point adds to the sum of ids."""
    hi, lo = k.halves(keys)
    return _mixed(_mixed(_mixed(lo + np.uint64(_STEP)) ^ hi) ^ keys["kind"].astype(np.uint64))


def _mixed(words: Words) -> Words:
    """The finalizer of SplitMix64: one-to-one, and each bit of the input moves half of those of the output."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What two sums say of each bucket: `then` was noted, and this is how `now` differs from it.

    `vanished` is the sum of ids then less that of now: if one point is missing and nothing else, it is that
    point's `id_hashes`.
    """

    same_ids: Mask
    same_contents: Mask
    vanished: Words


class Buckets:
    """The two sums of each bucket. Whoever changes what is summed up adds and removes the same here."""

    def __init__(self, count: int) -> None:
        self.ids = np.zeros(count, np.uint64)
        self.contents = np.zeros(count, np.uint64)
        self._unseen = np.zeros(count, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def proven(self) -> Mask:
        """Of which buckets every content was looked at."""
        proven: Mask = self._unseen == 0
        return proven

    def unproven(self, buckets: Mask) -> None:
        """Of these buckets not every content was looked at, and that cannot be made up for."""
        self._unseen[buckets] = _NEVER

    def of(self, keys: Keys) -> Rows:
        """The bucket of each key: its slice of as many slices as there are buckets, so buckets nest in slices."""
        return slice_of(keys, len(self)).astype(np.intp)

    def add(self, columns: Columns) -> None:
        """These points are there now."""
        bucket, hashes, contents, seen = self._parts(columns)
        np.add.at(self.ids, bucket, hashes)
        np.add.at(self.contents, bucket, contents)
        np.add.at(self._unseen, bucket[~seen], 1)

    def remove(self, columns: Columns) -> None:
        """These points, which were added with these digests, are gone or about to be added anew."""
        bucket, hashes, contents, seen = self._parts(columns)
        np.subtract.at(self.ids, bucket, hashes)
        np.subtract.at(self.contents, bucket, contents)
        np.subtract.at(self._unseen, bucket[~seen], 1)

    def _parts(self, columns: Columns) -> tuple[Rows, Words, Words, Mask]:
        hashes, seen = id_hashes(columns.keys), columns.digests != NO_DIGEST
        contents = _mixed((hashes + np.uint64(_CONTENT)) ^ columns.digests)
        contents[~seen] = 0
        return self.of(columns.keys), hashes, contents, seen

    def compared(self, now: Buckets) -> Comparison:
        """How `now` differs from these. Another number of buckets proves nothing."""
        if len(self) != len(now):
            nothing = np.zeros(len(self), np.bool_)
            return Comparison(nothing, nothing, np.zeros(len(self), np.uint64))
        same_ids = self.ids == now.ids
        same_contents = same_ids & (self.contents == now.contents) & self.proven & now.proven
        return Comparison(same_ids, same_contents, self.ids - now.ids)

    def as_json(self) -> dict[str, Any]:
        return {
            "buckets": len(self),
            "ids": _encoded(self.ids),
            "contents": _encoded(self.contents),
            "unproven": np.flatnonzero(~self.proven).tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` wrote.

        An unproven bucket stays unproven whatever is removed from it: how many contents were missing is not noted.

        Raises:
            ValueError: it was not written so.
        """
        ids, contents = _decoded(value.get("ids")), _decoded(value.get("contents"))
        count, unproven = value.get("buckets"), value.get("unproven")
        if not len(ids) or not len(ids) == len(contents) == count:
            raise ValueError(f"{len(ids)} and {len(contents)} sums do not fill {count!r} buckets")
        if not isinstance(unproven, list) or any(
            not isinstance(each, int) or not 0 <= each < len(ids) for each in unproven
        ):
            raise ValueError(f"{unproven!r} are not numbers of buckets")
        found = cls(len(ids))
        found.ids, found.contents = ids, contents
        rows = np.zeros(len(ids), np.bool_)
        rows[unproven] = True
        found.unproven(rows)
        return found


_NEVER: Final = 1 << 62
"""So many contents that nobody has looked at cannot be taken out again."""


def _encoded(words: Words) -> str:
    return base64.b64encode(words.astype("<u8").tobytes()).decode()


def _decoded(text: object) -> npt.NDArray[np.uint64]:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not text")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as e:
        raise ValueError(f"{text!r} is not base64") from e
    if len(raw) % 8:
        raise ValueError(f"{len(raw)} bytes are not a number of 64-bit sums")
    return np.frombuffer(raw, "<u8").astype(np.uint64)
