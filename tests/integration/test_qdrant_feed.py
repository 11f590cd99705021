"""The version feed against a running Qdrant: the same points and versions by every way of asking."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from devkit.qdrant import EmbeddedQdrant
from teal.domain.errors import TransientError
from teal.domain.observed import CollectionState, Version
from teal.qdrant import raw_keys, wire
from teal.qdrant.admin import Admin
from teal.qdrant.affinity import new_token
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.feed import SLICES_SINCE, Feed, Way
from teal.qdrant.points import Points, Probe
from teal.qdrant.wire import Point, RawId
from tests.plugins.qdrant import Qdrant

DENSE = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2}
SPARSE = {"vectors": {}, "sparse_vectors": {"bm25": {}}}


@pytest.fixture
async def points(qdrant: Qdrant) -> AsyncIterator[Points]:
    async with Points(Endpoint(qdrant.url, qdrant.grpc_port, qdrant.api_key), streams=2) as points:
        yield points


@pytest.fixture
async def admin(qdrant: Qdrant) -> AsyncIterator[Admin]:
    async with Admin(Endpoint(qdrant.url, qdrant.grpc_port, qdrant.api_key)) as admin:
        yield admin


@pytest.fixture(scope="module")
def older() -> Iterator[Endpoint]:
    """A server before slices."""
    with EmbeddedQdrant.start(report_version="1.18.3") as server:
        yield Endpoint(server.url, server.grpc_port)


def mixed(count: int) -> list[Point]:
    """Points with ids of both kinds."""
    vectors = wire.dense_vectors([[1.0, i, 0, 0] for i in range(count)])
    ids = [i if i % 2 else UUID(int=i << 64 | i) for i in range(count)]
    return [Point(wire.raw_id(each), [], vector) for each, vector in zip(ids, vectors, strict=True)]


async def fed(feed: Feed, total: int | None = None) -> dict[RawId, int]:
    found: dict[RawId, int] = {}
    async for part in feed.scan(total):
        found |= zip(raw_keys.raw_ids(part.points.keys), part.points.versions.tolist(), strict=True)
    return found


async def scanned(points: Points, state: CollectionState) -> dict[RawId, int]:
    found: dict[RawId, int] = {}
    async for page in points.scan(state.name, Probe.of(state.schema)):
        found |= page
    return found


async def state_of(admin: Admin, name: str) -> CollectionState:
    state = await admin.collection(name)
    assert state is not None
    return state


@pytest.mark.parametrize("total", [None, 1, 5])
async def test_the_feed_says_what_a_scan_says(
    admin: Admin, points: Points, prefix: str, total: int | None
) -> None:
    name = f"{prefix}blue"
    await admin.create(name, DENSE)
    written = mixed(2600)
    await points.upsert(name, written)
    await points.upsert(name, written[:40:3])
    await points.delete(name, [point.id for point in written[10:20]])
    state = await state_of(admin, name)
    feed = Feed(points.pinned(new_token()), state, await admin.version())
    assert await fed(feed, total) == await scanned(points, state)
    some = raw_keys.of([point.id for point in written[5:15]])
    columns = await feed.versions(some)
    assert set(raw_keys.raw_ids(columns.keys)) == {point.id for point in written[5:10]}


async def test_a_collection_with_sparse_vectors_alone_is_not_read_whole(
    admin: Admin, points: Points, prefix: str
) -> None:
    name = f"{prefix}sparse"
    await admin.create(name, SPARSE)
    await points.upsert(name, [Point(wire.raw_id(i), [], b"") for i in range(1, 40)])
    feed = Feed(points, await state_of(admin, name), await admin.version())
    before = await fed(feed)
    await points.upsert(name, [Point(wire.raw_id(3), [], b"")])
    after = await fed(feed)
    assert {wire.plain_id(raw) for raw in before if after[raw] != before[raw]} == {3}
    assert not points.requests["get"]


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "no exact searches"])
@pytest.mark.parametrize("most", [3, 130, 400])
async def test_strict_limits_are_kept_to(
    admin: Admin, points: Points, prefix: str, most: int, exact: bool
) -> None:
    name = f"{prefix}strict"
    await admin.create(name, DENSE)
    await points.upsert(name, mixed(500))
    expected = await scanned(points, await state_of(admin, name))
    strict = {"enabled": True, "max_query_limit": most, "condition_max_size": 50, "search_allow_exact": exact}
    await admin.patch(name, {"strict_mode_config": strict})
    state, version = await state_of(admin, name), await admin.version()
    for each in (version, Version(1, 18)):
        assert await fed(Feed(points, state, each)) == expected


async def test_a_collection_without_points(admin: Admin, points: Points, prefix: str) -> None:
    name = f"{prefix}empty"
    await admin.create(name, DENSE)
    assert await fed(Feed(points, await state_of(admin, name), await admin.version()), 3) == {}


async def test_a_collection_that_is_gone(admin: Admin, points: Points, prefix: str) -> None:
    name = f"{prefix}gone"
    await admin.create(name, DENSE)
    feed = Feed(points, await state_of(admin, name), await admin.version())
    await admin.delete(name)
    with pytest.raises(TransientError) as caught:
        await fed(feed)
    assert caught.value.reason == "CollectionGone"


async def test_ranges_of_keys_before_slices(older: Endpoint) -> None:
    async with Admin(older) as admin, Points(older) as points:
        await admin.create("ranges", DENSE)
        await points.upsert("ranges", mixed(300))
        state, version = await state_of(admin, "ranges"), await admin.version()
        assert version < SLICES_SINCE
        feed = Feed(points, state, version)
        assert await feed.way() is Way.PAGES
        assert await fed(feed) == await scanned(points, state)


async def test_a_peer_without_slices_is_found_out(older: Endpoint) -> None:
    """In the midst of an upgrade one peer says that it is new, while another answers."""
    async with Admin(older) as admin, Points(older) as points:
        await admin.create("upgrade", DENSE)
        await points.upsert("upgrade", mixed(30))
        with pytest.raises(TransientError) as caught:
            await fed(Feed(points, await state_of(admin, "upgrade"), SLICES_SINCE), 2)
        assert caught.value.reason == "SlicesUnknown"
