"""A whole snapshot of a collection: one on every peer that holds shards of it.

A snapshot holds the shards of the peer that was asked, and no others. So it counts as whole only if every shard is
in good state on one of the peers that were asked, if these shards have all of the collection's points, if no shard
moved meanwhile, and if each peer lists its own snapshot with a size. What is not whole is deleted again: a backup
that lacks points is worse than an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from teal.domain.errors import TealError, TransientError
from teal.domain.marks import StoredSnapshot
from teal.qdrant.admin import Admin

ACTIVE = "Active"
BLOCKED_SECONDS = 300.0


@dataclass(frozen=True)
class Holding:
    """What one peer says of the shards of a collection.

    Attributes:
        points: by shard, of those that it holds in good state.
        shards: all that it knows, its own and those of others.
        moving: a shard is on its way to another peer.
    """

    root: str
    points: Mapping[int, int]
    shards: frozenset[int]
    moving: bool

    @classmethod
    def parse(cls, root: str, result: Mapping[str, Any]) -> Holding:
        """From the `result` of `GET /collections/{name}/cluster`."""
        local, remote = result.get("local_shards") or (), result.get("remote_shards") or ()
        active = {int(s["shard_id"]): int(s["points_count"]) for s in local if s.get("state", ACTIVE) == ACTIVE}
        known = frozenset(int(shard["shard_id"]) for shard in (*local, *remote))
        return cls(root, active, known, bool(result.get("shard_transfers") or result.get("resharding_operations")))


async def take_whole(admin: Admin, collection: str) -> list[StoredSnapshot]:
    """Take one snapshot on each peer that holds shards, and verify that together they are the whole collection.

    Raises:
        TransientError: reason `SnapshotIncomplete`, and nothing is left of it; or as `Admin.snapshot`.
    """
    before = await _holdings(admin, collection)
    await _require_whole(admin, collection, before)
    taken: list[StoredSnapshot] = []
    try:
        for each in before:
            if each.points:
                taken += [await _take(admin, collection, each.root)]
        after = await _holdings(admin, collection)
        if _placed(after) != _placed(before):
            raise _incomplete(collection, "its shards have moved meanwhile")
        await _require_whole(admin, collection, after)
    except BaseException:
        await discard(admin, collection, taken)
        raise
    return taken


async def discard(admin: Admin, collection: str, snapshots: Iterable[StoredSnapshot]) -> None:
    """Delete these snapshots, as far as that is possible now."""
    for each in snapshots:
        with suppress(TealError):
            await admin.delete_snapshot(collection, each.name, root=each.peer)


def said(taken: Sequence[StoredSnapshot]) -> str:
    """The end of a sentence about the deletion: where the snapshots are."""
    if not taken:
        return ""
    return (
        f"; its snapshots are {', '.join(map(str, taken))}. Qdrant does not list them any more, because the "
        "collection is gone: their files are in the snapshot folder or bucket of each peer, under its name"
    )


async def _holdings(admin: Admin, collection: str) -> list[Holding]:
    """Of every peer once, also where one answers at several addresses; all of them have to answer."""
    found: dict[Any, Holding] = {}
    for root in sorted(await admin.aliases_by_peer()):
        told = await admin.placement(collection, root)
        if told is None:
            raise _incomplete(collection, f"{root} does not tell which shards it holds")
        found.setdefault(told.get("peer_id", root), Holding.parse(root, told))
    return list(found.values())


def _placed(holdings: Sequence[Holding]) -> list[tuple[str, frozenset[int]]]:
    """Which shards each peer holds in good state."""
    return [(each.root, frozenset(each.points)) for each in holdings]


async def _require_whole(admin: Admin, collection: str, holdings: Sequence[Holding]) -> None:
    held: dict[int, int] = {}
    for each in holdings:
        if each.moving:
            raise _incomplete(collection, "a shard is being moved")
        for shard, points in each.points.items():
            held[shard] = max(points, held.get(shard, 0))
    missing = sorted(frozenset().union(*(each.shards for each in holdings)) - held.keys())
    asked = ", ".join(each.root for each in holdings)
    if not held:
        raise _incomplete(collection, f"none of its shards is in good state on the peers that answer ({asked})")
    if missing:
        shards = ", ".join(map(str, missing))
        raise _incomplete(
            collection, f"its shards {shards} are in good state on none of the peers that answer ({asked})"
        )
    counted = await admin.count(collection)
    if sum(held.values()) < counted:
        raise _incomplete(collection, f"its shards show {sum(held.values()):,} points, a count {counted:,}")


async def _take(admin: Admin, collection: str, root: str) -> StoredSnapshot:
    taken = await admin.snapshot(collection, root=root)
    stored = StoredSnapshot(root, taken.name)
    sizes = {each.name: each.size for each in await admin.snapshots(collection, root=root)}
    if not sizes.get(taken.name):
        await discard(admin, collection, [stored])
        raise _incomplete(collection, f"{root} does not list the snapshot {taken.name} that it took, or as empty")
    return stored


def _incomplete(collection: str, why: str) -> TransientError:
    return TransientError(
        "SnapshotIncomplete",
        f"{collection} is kept: no whole snapshot of it could be taken, because {why}. Teal tries again; "
        "spec.retention.snapshot: false deletes it without one.",
        retry_after=BLOCKED_SECONDS,
    )
