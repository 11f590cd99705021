"""The Qdrant in memory does what real ones were seen to do, as the product's own gateway shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from qdrant_client import grpc as qdrant

from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points, Probe
from teal.qdrant.wire import Point
from tests.unit.migration.fake_qdrant import FakeQdrant, Stored, server_of
from tests.unit.migration.fake_qdrant.answers import Refused
from tests.unit.migration.swift_loop import SwiftLoop

T = TypeVar("T")
PROBE = Probe("", 2)
AFFINITY = ("x-qdrant-route-affinity", "teal")
FENCE = {"strict_mode_config": {"enabled": True, "write_rate_limit": 1}}


class Lab:
    """A server of several peers, a collection `c` of one shard on two of them, and a client."""

    def __init__(self, peers: int = 2, **params: Any) -> None:
        self.loop = SwiftLoop()
        self.server = FakeQdrant(self.loop.time, peers=peers)
        body = {"vectors": {"size": 2, "distance": "Dot"}, "replication_factor": 2, **params}
        self.server._create("c", body)
        made = server_of(self.server, self._carry, self.loop.time)(Endpoint("http://qdrant:6333"))
        self.admin: Admin = made.admin
        self.points: Points = made.points

    async def _carry(self, _: str, __: bool, effect: Callable[[], Any]) -> Any:
        return effect()

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    def write(self, *numbers: int, **how: Any) -> Any:
        return self.server.write("c", {wire.raw_id(n): point(n) for n in numbers}, **how)

    def versions(self) -> dict[int, int]:
        ids = [wire.raw_id(n) for n in range(1, 10)]
        told = self.do(self.points.versions("c", ids, PROBE))
        return {int(wire.plain_id(p)): version for p, version in told.items()}

    def versions_by(self, replica: int, peer: int) -> dict[int, int]:
        """The same, through one peer and as one replica has it, unless something pins the read."""
        self.server.wander, self.server.route = lambda replicas: replicas[replica], lambda _: peer
        return self.versions()

    def op_nums(self) -> list[tuple[int, int]]:
        """(op_num, length) of each replica, as the peers' telemetry tells it."""
        found = self.do(self.admin.quiescence("c"))
        assert found is not None
        return [(number, found.queued) for _, number in sorted(found.op_nums.items())]


def point(number: int, x: float = 1.0) -> Stored:
    (vectors,) = wire.dense_vectors([[x, float(number)]])
    return Stored((), vectors)


@pytest.fixture
def make() -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def one(*given: Any, **more: Any) -> Lab:
        made.append(Lab(*given, **more))
        return made[-1]

    yield one
    for lab in made:
        lab.loop.close()


def test_replicas_number_the_same_operations_differently_and_reads_wander(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.travel[1] = 5.0
    lab.write(1)
    lab.server.pace.travel[1] = 1.0
    lab.write(2)
    lab.wait(10.0)
    assert lab.versions() == {1: 1, 2: 2}
    lab.server.wander = lambda replicas: replicas[1]
    assert lab.versions() == {1: 2, 2: 1}


def test_an_affinity_token_pins_reads_through_every_peer(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.write(1)
    lab.server.shards["c"].shards[0][1].points.clear()
    lab.points._metadata = (AFFINITY,)
    seen = {str(lab.versions_by(replica, peer)) for replica in range(2) for peer in range(2)}
    assert len(seen) == 1
    lab.server.consensus.decided.collections["c"].config["params"]["read_fan_out_factor"] = 1
    assert {str(lab.versions_by(replica, 0)) for replica in range(2)} == {"{}", "{1: 1}"}, (
        "fan-out defeats the pin"
    )


def test_an_operation_under_way_shows_neither_in_op_num_nor_in_the_queue(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.work, lab.server.pace.counting = 3.0, 2.0
    told: list[bool] = []
    lab.server.when_acknowledged(lab.write(1, wait=False), lambda: told.append(True))
    assert told, "acknowledged as soon as it is logged"
    assert lab.op_nums() == [(0, 0), (0, 0)]
    assert lab.versions() == {}
    lab.wait(4.0)
    assert (lab.versions(), lab.op_nums()) == ({1: 1}, [(0, 0), (0, 0)])
    lab.wait(2.0)
    assert lab.op_nums() == [(1, 0), (1, 0)]


def test_a_write_that_waits_is_answered_when_all_replicas_have_it(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.travel[1], lab.server.pace.work = 2.0, 1.0
    lab.do(lab.points.upsert("c", [Point(wire.raw_id(1), (), point(1).vectors)]))
    assert 3.0 <= lab.loop.time() < 3.1
    lab.server.pace.work = 1000.0
    with pytest.raises(UnknownOutcomeError):
        lab.do(lab.points.delete("c", [wire.raw_id(1)]))
    assert lab.versions() == {1: 1}


def test_a_shard_that_moves_numbers_its_points_anew(make: Callable[..., Lab]) -> None:
    lab = make(peers=3, replication_factor=1)
    for number in (3, 3, 3, 2, 1):
        lab.write(number)
    assert lab.versions() == {3: 3, 2: 4, 1: 5}
    before = lab.server.consensus.commit
    lab.server.move_shard("c", 0, 2)
    assert lab.versions() == {1: 1, 2: 2, 3: 3}, "one of them by accident as before"
    assert lab.server.consensus.commit > before
    lab.write(3)
    assert lab.versions()[3] == 4


def test_a_restart_lets_op_num_step_back_until_the_next_write(make: Callable[..., Lab]) -> None:
    lab = make(replication_factor=1)
    lab.write(1)
    lab.write(2)
    lab.server.restart(0, back=1)
    assert (lab.op_nums(), lab.versions()) == ([(1, 0)], {1: 1, 2: 2})
    lab.write(1)
    assert lab.op_nums() == [(3, 0)]


def test_a_fence_that_peers_learn_of_one_by_one_kills_a_replica(make: Callable[..., Lab]) -> None:
    """Write consistency factor 1: what one replica refuses and the other takes is acknowledged, by one."""
    lab = make()
    lab.server.pace.consensus[1] = 5.0
    lab.do(lab.admin.patch("c", FENCE))
    refuse(lab, 1)
    admitted = lab.server.admit("c", [wire.raw_id(2)])
    assert admitted is not None
    assert admitted.acknowledges
    lab.write(2, admitted=admitted)
    first, second = lab.server.shards["c"].shards[0]
    assert [first.state, second.state] == ["Dead", "Active"]
    lab.wait(lab.server.pace.transfer + 1)
    lab.server.advance()
    first, second = lab.server.shards["c"].shards[0]
    assert first.state == "Active"
    assert first.points.keys() == second.points.keys()


def test_with_the_factor_raised_a_fence_only_refuses(make: Callable[..., Lab]) -> None:
    """And what it refused may be on one replica all the same."""
    lab = make(write_consistency_factor=2)
    lab.server.pace.consensus[1] = 5.0
    lab.do(lab.admin.patch("c", FENCE))
    refuse(lab, 1)
    with pytest.raises(TransientError, match="Rate limiting"):
        lab.do(lab.points.delete("c", [wire.raw_id(1)]))
    first, second = lab.server.shards["c"].shards[0]
    assert [first.state, second.state] == ["Active", "Active"]
    assert (first.log, second.log) == (0, 1)
    lab.wait(10.0)
    assert lab.server.admit("c", [wire.raw_id(2)]) is None or lab.server.admit("c", [wire.raw_id(2)]) is None


def refuse(lab: Lab, number: int) -> None:
    """Use up the token of the peer that knows of the fence."""
    first = lab.server.shards["c"].shards[0][0]
    assert not lab.server._limits("c", first, 1), "one is let through"
    assert lab.server._limits("c", first, number)


def test_a_fence_wakes_every_limit_that_slept(make: Callable[..., Lab]) -> None:
    lab = make(strict_mode_config={"enabled": False, "max_query_limit": 3})
    lab.write(1, 2, 3, 4)
    assert len(lab.versions()) == 4
    lab.do(lab.admin.patch("c", FENCE))
    assert len(lab.do(lab.points.query("c", [1.0, 0.0], 4))) == 3, "Teal asks again for as many as are allowed"
    assert lab.points.requests["search"] == 2


def test_aliases_lag_by_peer_and_come_in_order(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.consensus[1] = float("inf")
    lab.do(lab.admin.point_alias("docs", "c"))
    assert lab.loop.time() >= 10.0, "it waits for all peers, but not for ever"
    shown = lab.do(lab.admin.aliases_by_peer())
    assert shown == {"http://peer-0:6333": {"docs": "c"}, "http://peer-1:6333": {}}
    lab.server.follow(1)
    assert set(map(str, lab.do(lab.admin.aliases_by_peer()).values())) == {"{'docs': 'c'}"}


def test_a_decision_through_a_peer_that_lags_times_out_and_holds_all_the_same(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.consensus[1] = float("inf")
    lab.server.route = lambda _: 1
    with pytest.raises(UnknownOutcomeError):
        lab.do(lab.admin.mark("c", {"a": 1}))
    assert lab.server.model.collections["c"].config["metadata"] == {"a": 1}


def test_an_alias_request_that_timed_out_is_decided_before_the_next_one(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server._create("d", {"vectors": {"size": 2, "distance": "Dot"}})
    lab.server.losing_aliases = 1
    with pytest.raises(UnknownOutcomeError):
        lab.do(lab.admin.point_alias("docs", "d"))
    assert lab.do(lab.admin.aliases()) == {}
    lab.do(lab.admin.point_alias("docs", "c"))
    lab.server.commit_late()
    assert lab.do(lab.admin.aliases()) == {"docs": "c"}


def test_a_peer_that_answers_for_another_tells_its_own_id(make: Callable[..., Lab]) -> None:
    lab = make()
    ids = [lab.do(lab.admin._get("cluster", "/cluster", root=f"http://peer-{n}:6333"))["peer_id"] for n in (0, 1)]
    assert len(set(ids)) == 2
    lab.server.stands_in[1] = 0
    again = lab.do(lab.admin._get("cluster", "/cluster", root="http://peer-1:6333"))
    assert again["peer_id"] == ids[0]


def test_a_snapshot_holds_the_shards_of_the_peer_that_was_asked_and_goes_with_the_collection(
    make: Callable[..., Lab],
) -> None:
    lab = make(shard_number=2, replication_factor=1)
    lab.write(*range(1, 10))
    lab.do(lab.admin.snapshot("c"))
    (taken,) = lab.server.shards["c"].snapshots
    assert 0 < len(taken.points) < 9
    lab.server.route = lambda _: 1
    assert lab.do(lab.admin.snapshots("c")) == []
    lab.do(lab.admin.delete("c"))
    assert lab.do(lab.admin.snapshots("c")) == []


def test_a_peer_that_goes_takes_no_write_with_it_and_comes_back_with_other_numbers(
    make: Callable[..., Lab],
) -> None:
    lab = make()
    for number in (3, 2, 1):
        lab.write(number)
    lab.server.kill(1)
    lab.write(4)
    peers = lab.do(lab.admin.peers())
    assert (len(peers.found), peers.hidden) == (1, True), "one of two is as if one address stood for both"
    lab.server.revive(1)
    lab.wait(10.0)
    lab.server.wander = lambda replicas: replicas[1]
    assert lab.versions() == {1: 1, 2: 2, 3: 3, 4: 4}
    lab.server.kill(0)
    lab.server.kill(1)
    with pytest.raises(Refused):
        lab.server.admit("c", [wire.raw_id(1)])


def barrier(lab: Lab, **params: str) -> str:
    """A write that changes nothing and reaches every shard; the status of its answer."""
    body = {"filter": {"must": [{"has_id": ["00000000-0000-0000-0000-000000000000"]}]}}
    write = lab.admin._write("barrier", "POST", "/collections/c/points/delete", json=body, **params)
    return str(lab.do(write)["status"])


def test_a_barrier_reaches_every_shard_and_raises_each_op_num_by_one(make: Callable[..., Lab]) -> None:
    lab = make(shard_number=2)
    assert barrier(lab, wait="true") == "completed"
    assert lab.op_nums() == [(1, 0)] * 4
    lab.do(lab.admin.patch("c", FENCE))
    barrier(lab, wait="true")
    with pytest.raises(TransientError, match="Retry after 60s"):
        lab.do(lab.points.delete("c", [wire.raw_id(1)]))
    with pytest.raises(TransientError, match="Retry after 60s"):  # after it was split as far as possible
        lab.do(lab.points.delete("c", [wire.raw_id(number) for number in range(9)]))


def test_a_barrier_is_not_answered_before_what_is_under_way_is_applied(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.work = 5.0
    lab.write(1, wait=False)
    lab.server.pace.work = 0.0
    assert barrier(lab, wait="true") == "completed"
    assert lab.loop.time() >= 5.0
    assert (lab.versions(), lab.op_nums()) == ({1: 1}, [(2, 0)] * 2)


def test_a_barrier_that_is_not_waited_for_or_not_long_enough_says_so(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.server.pace.work = 5.0
    assert barrier(lab) == "acknowledged"
    assert barrier(lab, wait="true", timeout="2") == "wait_timeout"
    assert lab.loop.time() < 3.0
    lab.server.pace.work = 100.0
    with pytest.raises(UnknownOutcomeError):
        barrier(lab, wait="true")


def test_a_fence_may_stand_where_the_request_comes_in(make: Callable[..., Lab]) -> None:
    """Then a token that was spent by way of one peer is left to those who write through another."""
    lab = make()
    lab.server.limits_where_asked = True
    lab.do(lab.admin.patch("c", FENCE))
    barrier(lab, wait="true")
    point = wire.raw_id(1)
    assert lab.server.admit("c", [point], peer=0) is None
    assert lab.server.admit("c", [point], peer=1) is not None
    assert lab.server.admit("c", [point], peer=1) is None


def test_a_pinned_read_may_fall_back_to_another_replica(make: Callable[..., Lab]) -> None:
    lab = make()
    lab.write(1)
    lab.server.shards["c"].shards[0][1].points.clear()
    lab.points._metadata = (AFFINITY,)
    assert len({str(lab.versions_by(replica, 0)) for replica in range(2)}) == 1
    lab.server.falls_back = lambda _: True
    assert {str(lab.versions_by(replica, 0)) for replica in range(2)} == {"{}", "{1: 1}"}


def test_a_peer_tells_how_far_it_has_followed_and_its_own_replicas_alone(make: Callable[..., Lab]) -> None:
    lab = make(peers=3, shard_number=3, replication_factor=1)
    lab.server.pace.consensus[1] = float("inf")
    lab.do(lab.admin.point_alias("docs", "c"))
    told = [lab.do(lab.admin._get("cluster", "/cluster", root=f"http://peer-{n}:6333")) for n in range(3)]
    commits = [each["raft_info"]["commit"] for each in told]
    assert commits[0] == commits[2] == commits[1] + 1
    for number, peer in enumerate(told):
        root = f"http://peer-{number}:6333"
        found = lab.do(lab.admin._get("telemetry", "/telemetry", root=root, details_level="3"))
        (shard,) = found["collections"]["collections"][0]["shards"]
        assert shard["replicate_states"] == {str(peer["peer_id"]): "Active"}


def formula(condition: Any, limit: int, *, exact: bool) -> Any:
    """A query that scores all points alike."""
    return qdrant.QueryPoints(
        collection_name="c",
        prefetch=[qdrant.PrefetchQuery(filter=qdrant.Filter(must=[condition]), limit=limit)],
        query=qdrant.Query(formula=qdrant.Formula(expression=qdrant.Expression(constant=1.0))),
        params=qdrant.SearchParams(exact=exact),
        limit=limit,
    )


def test_without_exact_each_of_several_shards_answers_its_share_of_a_high_limit(make: Callable[..., Lab]) -> None:
    lab = make(shard_number=2)
    lab.write(*range(200))
    one_shard = lab.server.shards["c"].by_shard([wire.raw_id(number) for number in range(200)])[0]
    ids = qdrant.HasIdCondition(has_id=[qdrant.PointId.FromString(each) for each in one_shard])
    found = {}
    for exact in (False, True):
        request = formula(qdrant.Condition(has_id=ids), 150, exact=exact)
        found[exact] = len(lab.do(lab.points._read("versions", "Query", request, qdrant.QueryResponse)).result)
    assert found == {False: 75, True: len(one_shard)}


def test_a_formula_over_a_slice_tells_versions_of_all_points(make: Callable[..., Lab]) -> None:
    lab = make(replication_factor=1)
    for number in range(1, 10):
        lab.write(number)
    seen: dict[int, int] = {}
    for index in range(3):
        part = qdrant.Condition(slice=qdrant.SliceCondition(total=3, index=index))
        request = formula(part, 100, exact=True)
        answer = lab.do(lab.points._read("versions", "Query", request, qdrant.QueryResponse))
        seen |= {hit.id.num: hit.version for hit in answer.result}
    assert seen == {number: number for number in range(1, 10)}


def test_what_is_given_to_a_thread_is_done_in_the_loops_own_time(make: Callable[..., Lab]) -> None:
    lab = make()
    assert lab.do(asyncio.to_thread(sum, (1, 2))) == 3
    with pytest.raises(ZeroDivisionError):
        lab.do(asyncio.to_thread(divmod, 1, 0))
