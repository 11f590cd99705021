"""A scan tells every point once, with its version, whatever the server cuts, forbids or does not know."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from teal.domain import keys as k
from teal.domain.columns import UNKNOWN
from teal.domain.errors import TerminalError, TransientError
from teal.domain.observed import Version
from teal.domain.slices import slice_of
from teal.qdrant import feed as feeds
from teal.qdrant import raw_keys, wire
from teal.qdrant.affinity import HEADER
from teal.qdrant.feed import WHOLE, Feed, Part, Slice, Way
from tests.unit.qdrant.fake_channel import FakeQdrant, PointId

NEW, OLD = Version(1, 19), Version(1, 18, 3)


def numbered(count: int) -> dict[PointId, int]:
    """Points of both kinds; the version says which."""
    return {i if i % 3 else str(UUID(int=i << 100 | i)): 7 * i for i in range(count)}


def feed(server: FakeQdrant, version: Version = NEW, *, state: Any = None, **options: Any) -> Feed:
    return Feed(server.points(), state or server.state(), version, **options)


def read(parts: Iterable[Part]) -> dict[PointId, int]:
    """All points of these parts, which hold each of them once, in order."""
    found: dict[PointId, int] = {}
    for part in parts:
        assert (k.order(part.points.keys) == np.arange(len(part.points.keys))).all()
        ids = [wire.plain_id(raw) for raw in raw_keys.raw_ids(part.points.keys)]
        assert not found.keys() & set(ids)
        found |= dict(zip(ids, part.points.versions.tolist(), strict=True))
    return found


async def scanned(source: Feed, total: int | None = None, where: bytes | None = None) -> list[Part]:
    return [part async for part in source.scan(total, where=where)]


def asked_slices(server: FakeQdrant) -> list[tuple[int, int]]:
    conditions = [c for each in server.asked for p in each.prefetch for c in p.filter.must if c.HasField("slice")]
    return [(c.slice.total, c.slice.index) for c in conditions]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small limits, so that a few hundred points are many."""
    monkeypatch.setattr(feeds, "LEAST_LIMIT", 100)


# By slice


@pytest.mark.parametrize("total", [1, 2, 5])
async def test_slice_by_slice(total: int) -> None:
    server = FakeQdrant(numbered(900))
    parts = await scanned(feed(server), total)
    assert [part.slice for part in parts] == [Slice(total, index) for index in range(total)]
    assert all(part.after is part.upto is None for part in parts)
    for part in parts:
        assert (slice_of(part.points.keys, total) == part.slice.index).all()
    assert read(parts) == server.versions


async def test_the_number_of_slices_grows_with_the_points() -> None:
    server = FakeQdrant(numbered(10))
    assert await feed(server).slices() == 1
    assert len(await scanned(feed(server))) == 1
    server.counted = 250
    assert await feed(server).slices() == 2
    server.counted = 100_000
    assert await feed(server, streams=3).slices() == 4
    server.counted = 10_000_000
    assert await feed(server).slices() == 128
    server.counted = 10**10
    assert await feed(server).slices() == feeds.MOST_SLICES


@pytest.mark.parametrize("counted", [0, 10, 140, 290])
async def test_a_slice_that_was_cut_is_asked_for_again_in_halves(counted: int) -> None:
    """The count is an estimate: the truth is 600, more than the limit that is made from it."""
    server = FakeQdrant(numbered(600), counted=counted)
    parts = await scanned(feed(server), 2)
    assert [part.slice for part in parts] == [Slice(2, 0), Slice(2, 1)]
    assert read(parts) == server.versions
    assert any(total > 2 for total, _ in asked_slices(server))


async def test_deleting_while_the_server_answers_hides_no_cut() -> None:
    """Points of a cut answer are deleted before they are scored, so it is not full, and yet not whole."""
    server = FakeQdrant(numbered(110), counted=40)

    def delete_some(server: FakeQdrant) -> None:
        for point in sorted((p for p in server.versions if isinstance(p, int)), key=int)[:20]:
            del server.versions[point]

    source = feed(server)
    await source.way()
    server.while_answering = delete_some
    assert read(await scanned(source, 1)) == server.versions
    assert len(server.versions) == 90


async def test_a_whole_answer_leaves_a_quarter_of_the_limit() -> None:
    for count, requests in ((75, 1), (76, 3)):
        server = FakeQdrant(numbered(count), counted=40)
        source = feed(server)
        await source.way()
        server.asked.clear()
        assert read(await scanned(source, 1)) == server.versions
        assert [each.limit for each in server.asked] == [100] * requests


@pytest.mark.parametrize("most", [1, 7, 40, 127, 128, 200, 900])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "no exact searches"])
@pytest.mark.parametrize("shards", [1, 3])
async def test_strict_limits(most: int, exact: bool, shards: int) -> None:
    """A limit makes smaller slices, or pages where they would be too many; no answer is cut by a shard's share."""
    server = FakeQdrant(numbered(600 if most > 7 else 20 * most), most=most, exact_allowed=exact, shards=shards)
    assert read(await scanned(feed(server), 2)) == server.versions
    assert max(each.limit for each in server.asked) <= most


@pytest.mark.parametrize("points", [150, 900])
async def test_shards_give_only_their_share_where_exact_searches_are_forbidden(points: int) -> None:
    server = FakeQdrant(numbered(points), exact_allowed=False, shards=6)
    assert read(await scanned(feed(server), 2)) == server.versions
    assert not any(each.params.exact for each in server.asked)
    assert len(server.asked) == 1 + 2  # one to try formulas, one a slice: the limit has room for every share


@pytest.mark.parametrize("disabled", [True, False], ids=["disabled", "enabled"])
async def test_limits_count_only_where_strict_mode_is_enabled(disabled: bool) -> None:
    server = FakeQdrant(numbered(300))
    state = server.state(enabled=not disabled, max_query_limit=100)
    assert read(await scanned(feed(server, state=state), 1)) == server.versions
    assert (max(each.limit for each in server.asked) > 100) == disabled


async def test_a_limit_that_comes_meanwhile_is_kept_to() -> None:
    server = FakeQdrant(numbered(600))
    source = feed(server)
    await source.way()
    server.most = 130
    assert read(await scanned(source, 2)) == server.versions
    assert sum(each.limit > 130 for each in server.asked) <= 3


async def test_a_limit_of_nothing_is_an_error() -> None:
    server = FakeQdrant(numbered(10))
    source = feed(server)
    await source.way()
    server.most = 0
    with pytest.raises(TerminalError, match="Limit exceeded"):
        await scanned(source, 2)


async def test_an_empty_collection() -> None:
    for version, total in ((NEW, 3), (OLD, 1)):
        parts = await scanned(feed(FakeQdrant({}), version), total)
        assert len(parts) == total
        assert read(parts) == {}


@pytest.mark.parametrize("version", [NEW, OLD])
async def test_only_what_a_filter_matches(version: Version) -> None:
    server = FakeQdrant(numbered(200))
    chosen = [point for point in server.versions if server.versions[point] % 2]
    raws = [wire.raw_id(point) for point in chosen]
    where = wire.Filter(must=[{"has_id": {"has_id": raws}}]).SerializeToString()
    assert read(await scanned(feed(server, version), 2, where)) == {p: server.versions[p] for p in chosen}


async def test_several_requests_are_under_way_but_not_too_many() -> None:
    server = FakeQdrant(numbered(900))
    assert read(await scanned(feed(server, streams=3), 8)) == server.versions
    assert server.most_under_way == 3


async def test_a_scan_that_is_given_up_leaves_nothing_under_way() -> None:
    server = FakeQdrant(numbered(900), stuck=2)
    scan = feed(server, streams=3).scan(8)
    await anext(scan)
    assert server.under_way
    await scan.aclose()
    assert not server.under_way


async def test_an_error_ends_the_scan_and_what_is_under_way() -> None:
    server = FakeQdrant(numbered(900), knows_slices=False)
    with pytest.raises(TransientError):
        await scanned(feed(server, streams=3), 8)
    assert not server.under_way


async def test_a_peer_that_knows_no_slices_is_found_out() -> None:
    """It is not refused: a condition that a peer does not know counts for nothing there."""
    server = FakeQdrant(numbered(900), knows_slices=False)
    with pytest.raises(TransientError) as caught:
        await scanned(feed(server), 2)
    assert caught.value.reason == "SlicesUnknown"


@pytest.mark.parametrize("version", [NEW, OLD])
@pytest.mark.parametrize("shards", [2, 4])
async def test_a_point_on_several_shards_has_no_version_that_is_known(version: Version, shards: int) -> None:
    """Each shard numbers by itself, so none of the numbers would show every change; nor is the point left out."""
    twice = frozenset(list(numbered(300))[::7])
    server = FakeQdrant(numbered(300), shards=shards, twice=twice)
    expected = {point: UNKNOWN if point in twice else known for point, known in server.versions.items()}
    assert read(await scanned(feed(server, version), 1)) == expected


async def test_points_on_several_shards_push_no_other_out_of_a_page() -> None:
    server = FakeQdrant(numbered(300), shards=4, twice=frozenset(numbered(200)))
    parts = await scanned(feed(server, OLD))
    assert read(parts).keys() == server.versions.keys()


# By range of keys


async def test_ranges_where_the_server_has_no_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE", 100)
    server = FakeQdrant(numbered(250), knows_slices=False)
    source = feed(server, OLD)
    parts = await scanned(source)
    assert await source.way() is Way.PAGES
    assert await source.slices() == 1
    assert read(parts) == server.versions
    assert [part.slice for part in parts] == [WHOLE] * 3
    assert not asked_slices(server)
    assert parts[0].after is None
    assert parts[-1].upto is None
    for one, following in pairwise(parts):
        assert one.upto == following.after == one.points.keys[-1:].tobytes()
        assert len(one.upto) == k.KEY.itemsize


async def test_a_range_ends_where_its_page_ended_though_the_point_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE", 10)
    server = FakeQdrant({i: i for i in range(30)})
    source = feed(server, OLD, streams=1)
    await source.way()
    server.while_answering = lambda server: server.versions.pop(9) and None
    parts = await scanned(source)
    assert read(parts) == {i: i for i in range(30) if i != 9}
    assert parts[0].upto == raw_keys.of([wire.raw_id(9)]).tobytes()


@pytest.mark.parametrize(
    "limits", [{"most": 7}, {"most_ids": 9}, {"most": 200, "shards": 3, "exact_allowed": False}]
)
@pytest.mark.parametrize("known", [True, False], ids=["known before", "found out"])
async def test_strict_limits_on_pages(limits: dict[str, Any], known: bool) -> None:
    server = FakeQdrant(numbered(500), **limits)
    state = None if known or "exact_allowed" in limits else FakeQdrant(server.versions).state()
    assert read(await scanned(feed(server, OLD, state=state))) == server.versions


async def test_the_nearest_vectors_where_the_server_answers_no_formula() -> None:
    server = FakeQdrant(numbered(500), knows_formula=False)
    source = feed(server)
    assert await source.way() is Way.PROBE
    assert read(await scanned(source, 4)) == server.versions
    assert all(each.query.HasField("nearest") for each in server.asked[1:])


async def test_a_refusal_for_another_reason_is_told() -> None:
    server = FakeQdrant(numbered(5), exact_allowed=False)
    with pytest.raises(TerminalError) as caught:
        await feed(server, state=server.state(search_allow_exact=True)).way()
    assert caught.value.reason == "ExactSearchForbidden"


# Some points


@pytest.mark.parametrize("server", [FakeQdrant(numbered(300)), FakeQdrant(numbered(300), knows_formula=False)])
async def test_the_versions_of_some_points(server: FakeQdrant) -> None:
    asked = [*list(server.versions)[:200:7], 10**6]
    columns = await feed(server).versions(raw_keys.of([wire.raw_id(point) for point in asked]))
    assert read([Part(WHOLE, columns)]) == {point: server.versions[point] for point in asked[:-1]}


async def test_the_versions_of_no_points() -> None:
    columns = await feed(FakeQdrant(numbered(3))).versions(raw_keys.of([]))
    assert len(columns.keys) == len(columns.versions) == 0


# Affinity


async def test_a_pinned_view_sends_its_token_with_every_read() -> None:
    """Then any connection will do; without a token, all reads have to come from one peer."""
    server = FakeQdrant(numbered(30))
    points = server.points()
    pinned = points.pinned("teal-7")
    await scanned(Feed(pinned, server.state(), NEW))
    assert server.metadata == [(HEADER, "teal-7")]
    assert points.requests["versions"] == 2
    assert all(server.any_would_do)
    server.any_would_do.clear()
    await scanned(Feed(points, server.state(), NEW))
    assert server.metadata == []
    assert not any(server.any_would_do)


def test_a_slice_is_its_parts() -> None:
    assert Slice(3, 2).parts(2) == [Slice(6, 2), Slice(6, 5)]
    assert Slice(3, 2).parts(1) == [Slice(3, 2)]
