"""What is known to be on green, and what a scan of blue says is to be done: the ledger's arithmetic on columns.

Each function here takes small pieces that cover the same range of keys (`columns.aligned`) and returns new ones;
nothing is changed in place. A row of the ledger says: green holds this point, with the content that blue had when
it had this version, or a newer one; `digest` is that of the content.

Invariants. A version goes into the ledger only if it was noted *before* the content was read, and only after the
content was durably applied to green: so the ledger can be behind what green holds, never ahead of it. Every id
that green holds stands in the ledger (`seed` puts those there that a predecessor left), for what does not stand
there is never recognised as deleted from blue. A point that was seen and could not be copied is seeded as well:
a version that was seen before and not noted would look like one of another replica (`point_state.out_of_order`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teal.domain import keys as k
from teal.domain.columns import CONTENT, EMPTY, NO_DIGEST, UNKNOWN, Columns, Digests, columns_of, together
from teal.domain.keys import Keys, Mask


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """`read`: what has to be read from blue, with the version just seen and the digest of what green was given.

    Where the content that is read has that same digest, there is nothing to write, only the version to record.
    `gone`: what blue no longer has and green still holds.
    """

    read: Columns
    gone: Keys

    def __len__(self) -> int:
        return len(self.read) + len(self.gone)


def difference(known: Columns, seen: Columns, *, comparable: bool = True) -> Difference:
    """What to do about one piece, given what the ledger knows and what a scan has just seen.

    With `comparable` a version that is still the same means that the content is; without it (the epoch has ended,
    `domain.epoch`) versions mean nothing, and everything is read. A version that is itself a digest of the content
    (`ledger.CONTENT`) can always be compared.
    """
    rows, both = k.locate(seen.keys, known.keys)
    digests = np.full(len(seen), NO_DIGEST, np.uint64)
    digests[both] = known.digests[rows[both]]
    unchanged = np.zeros(len(seen), np.bool_)
    unchanged[both] = known.versions[rows[both]] == seen.versions[both]
    unchanged &= seen.versions != UNKNOWN if comparable else seen.versions >= CONTENT
    read = Columns(seen.keys, seen.versions, digests).take(~unchanged)
    gone = np.ones(len(known), np.bool_)
    gone[rows[both]] = False
    return Difference(read, k.take(known.keys, gone))


def unmoved(read: Columns, digests: Digests) -> Mask:
    """Which of `Difference.read` have a content, with these `digests`, that green was given already."""
    same: Mask = (read.digests == digests) & (read.digests != NO_DIGEST)
    return same


def record(known: Columns, copied: Columns) -> Columns:
    """These points are durably on green: with the versions noted before they were read, and what was written."""
    if not len(copied):
        return known
    return _with(known.take(_missing(known.keys, copied.keys)), copied)


def seed(known: Columns, keys: Keys) -> Columns:
    """Green holds these points, too, at nobody knows which version: to be copied again, or to be deleted."""
    found = columns_of(keys)
    return _with(known, found.take(_missing(found.keys, known.keys)))


def forget(known: Columns, gone: Keys) -> Columns:
    """These points are no longer on green."""
    if not len(gone):
        return known
    return known.take(_missing(known.keys, columns_of(gone).keys))


def held(known: Columns, keys: Keys) -> Columns:
    """What the ledger says of these points, where it says anything: what a sum over it has to give back."""
    return known.take(~_missing(known.keys, columns_of(keys).keys))


def _missing(keys: Keys, others: Keys) -> Mask:
    """Which of the sorted `keys` are not among the sorted `others`."""
    return ~k.locate(keys, others)[1]


def _with(one: Columns, other: Columns) -> Columns:
    """Both, of which none has a key of the other."""
    if not (len(one) and len(other)):
        return one if len(one) else other if len(other) else EMPTY
    whole = together((one, other))
    return whole.take(k.merge_order(whole.keys))
