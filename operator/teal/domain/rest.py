"""Whether a collection is at rest, from what its replicas tell of the operations that they have applied.

`op_num` is the number of the last operation that a replica has applied. Every operation takes one number, also
one that changes nothing. While an operation is being applied it is in no queue and in no `op_num`, so equal
numbers alone prove nothing. A *barrier* is a write of Teal that changes nothing, reaches every shard and is
answered when it is applied, after everything that came before it.

So the proof is a count: from one look to another, with a barrier right before the second, `op_num` has risen on
every replica of every shard by exactly the number of barriers. Then no other operation was applied in between,
and none that began before the first look was still to come. Both looks must be of one epoch, and complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from teal.domain.epoch import Epoch

ReplicaKey = tuple[int, int]
"""(peer id, shard id)."""


@dataclass(frozen=True)
class Numbers:
    """One look at the replicas of a collection.

    Attributes:
        op_nums: the number of the last operation that each replica has applied.
        queued: operations that wait in queues.
        barriers: how many barriers Teal has passed so far.
        unsure: how many barriers may have passed on some shards only, because they were refused or not answered.
        epoch: what the numbers can be compared within; `None` if it could not be read.
        missing: the peers that did not tell, and why; the numbers are complete only if there is none.
    """

    op_nums: Mapping[ReplicaKey, int]
    queued: int = 0
    barriers: int = 0
    unsure: int = 0
    epoch: Epoch | None = None
    missing: tuple[str, ...] = ()


def why_not_at_rest(before: Numbers | None, after: Numbers | None) -> str | None:
    """Why nothing is proved between two looks, of which a barrier came right before the second; `None`: proved."""
    if before is None or after is None:
        return "the server does not tell op_num"
    incomplete = why_not_comparable(before, after)
    if incomplete:
        return incomplete
    if after.unsure != before.unsure:
        return "a barrier was refused or not answered"
    expected = after.barriers - before.barriers
    if expected < 1:
        return "no barrier came after the first look"
    more = others_operations(before, after)
    if more:
        return f"up to {more} operations that are not Teal's were applied"
    if any(after.op_nums[replica] - number != expected for replica, number in before.op_nums.items()):
        return "op_num has risen by less than the barriers"
    return None


def why_not_comparable(before: Numbers, after: Numbers) -> str | None:
    """Why the numbers of two looks say nothing about each other."""
    for look in (before, after):
        if look.missing:
            return f"not every peer could be asked ({'; '.join(look.missing)})"
    if before.epoch is None or after.epoch is None:
        return "where the replicas are could not be read"
    ended = before.epoch.ended_by(after.epoch)
    if ended:
        return ended
    if before.op_nums.keys() != after.op_nums.keys() or not before.op_nums:
        return "the replicas that tell op_num are not the same"
    return None


def others_operations(before: Numbers, after: Numbers) -> int:
    """How many operations other than Teal's barriers the replica with the most of them has applied."""
    expected = after.barriers - before.barriers
    rises = (after.op_nums.get(replica, number) - number for replica, number in before.op_nums.items())
    return max((rise - expected for rise in rises if rise > expected), default=0)


def stood_still(before: Numbers | None, after: Numbers | None) -> bool:
    """Whether the numbers did not move and nothing was queued: what can be seen without a barrier in between.

    It is no proof, because an operation may be under way. It finds out early what the proof would find out late.
    """
    if before is None or after is None:
        return False
    return before.op_nums == after.op_nums and before.queued == 0 == after.queued
