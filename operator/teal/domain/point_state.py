"""Whether a point has changed on one side: yes, no, or nobody knows.

Three states and not two, because "not proven unchanged" is no change: taken for one, it would let the serving side
overwrite what was written to the other. Each side is judged for itself here, from the best evidence that there
is; what is done about two judgements is decided elsewhere.

1. the content, by digest, whenever it was read;
2. the version, within one epoch (`domain.epoch`): the noted one is unchanged, one above the floor is changed;
3. after a restart, the sums of the point's bucket.

What Teal itself wrote is noted with the digest of what was written and without a version: content decides.

Invariant: UNCHANGED is said only on proof, and so is CHANGED, with one reservation: a version above the floor says
that the point was written to, possibly with what it held before. Read its content before anything is carried.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from teal.domain import keys as k
from teal.domain.buckets import Buckets, Comparison, id_hashes
from teal.domain.columns import NO_DIGEST, UNKNOWN, Columns, Digests, Versions
from teal.domain.epoch import Floors
from teal.domain.keys import Keys, Mask

States = npt.NDArray[np.uint8]


class State(IntEnum):
    """Of one point on one side, since both sides were last in step."""

    UNCHANGED = 0
    CHANGED = 1
    UNKNOWN = 2


class _Found:
    """For each of `keys`, what a piece has: `there`, and version and digest where it is."""

    def __init__(self, keys: Keys, piece: Columns) -> None:
        rows, self.there = k.locate(keys, piece.keys)
        self.versions: Versions = np.full(len(keys), UNKNOWN, np.int64)
        self.digests: Digests = np.full(len(keys), NO_DIGEST, np.uint64)
        self.versions[self.there] = piece.versions[rows[self.there]]
        self.digests[self.there] = piece.digests[rows[self.there]]


def by_ledger(
    keys: Keys, known: Columns, seen: Columns, floors: Floors | None, *, complete: bool = True
) -> States:
    """The states of sorted `keys`, given a ledger that knows *all* points of this side.

    One that is not `complete` lacks points, so of what has no row only a version above the floor tells something.

    `known` is what the side held when both were in step, `seen` what a scan finds now, with the digests of those
    contents that were read. `floors` are those of the scan that `known` is from, `None` where versions cannot be
    compared with it (`epoch.comparable`).
    """
    then, now = _Found(keys, known), _Found(keys, seen)
    states = np.full(len(keys), State.UNKNOWN, np.uint8)
    both = then.there & now.there
    if floors is not None:
        numbered = both & (then.versions != UNKNOWN) & (now.versions != UNKNOWN)
        states[numbered & (now.versions > floors.high)] = State.CHANGED
        states[numbered & (now.versions == then.versions)] = State.UNCHANGED
    read = both & (then.digests != NO_DIGEST) & (now.digests != NO_DIGEST)
    states[read] = np.where(then.digests[read] == now.digests[read], State.UNCHANGED, State.CHANGED)
    states[then.there != now.there] = State.CHANGED
    states[~then.there & ~now.there] = State.UNCHANGED
    if not complete:
        above = now.there & (now.versions > floors.high) if floors is not None else np.zeros(len(keys), np.bool_)
        states[~then.there & ~above] = State.UNKNOWN
    return states


def out_of_order(known: Columns, seen: Columns, floors: Floors) -> Mask:
    """Which of `seen` have a version that no scan of this epoch can show: another replica has answered.

    It is neither the noted one nor above the floor of the previous scan. One such point ends the epoch for all:
    the other versions of the same answer may be equal to the noted ones by accident. A point that stands in the
    ledger without a version says nothing.
    """
    rows, found = k.locate(seen.keys, known.keys)
    expected = np.zeros(len(seen), np.bool_)
    noted = known.versions[rows[found]]
    expected[found] = (noted == seen.versions[found]) | (noted == UNKNOWN)
    odd: Mask = ~expected & (seen.versions != UNKNOWN) & (seen.versions <= floors.low)
    return odd


def by_marks(keys: Keys, seen: Columns, floors: Floors | None, then: Buckets, sums: Comparison) -> States:
    """The states of sorted `keys` after a restart, when all that is left are the durable marks.

    `floors` are the noted ones, `None` where the epoch has ended since. `then` are the noted buckets, and `sums`
    says how this side's buckets of now differ from them; where contents were not read, these are unproven.
    """
    now, bucket = _Found(keys, seen), then.of(keys)
    states = np.full(len(keys), State.UNKNOWN, np.uint8)
    # A point that is not there has not been there either if no id of its bucket has changed; and if the ids differ
    # by this very point, it was.
    absent = ~now.there
    states[absent & (sums.vanished[bucket] == id_hashes(keys))] = State.CHANGED
    states[(absent & sums.same_ids[bucket]) | sums.same_contents[bucket]] = State.UNCHANGED
    if floors is not None:
        numbered = now.there & (now.versions != UNKNOWN)
        states[numbered & (now.versions <= floors.low)] = State.UNCHANGED
        states[numbered & (now.versions > floors.high)] = State.CHANGED
    return states
