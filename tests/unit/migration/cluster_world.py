"""A `World` whose Qdrant is a cluster, to which things happen that happen to clusters.

What is promised is what `World` promises, on every replica that can be read: an acknowledged write is behind the
alias and stays there, what was deleted stays away, both live collections hold the same at rest, and nothing is
deleted that was written to it alone. What was never acknowledged may be there or not.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

from tests.unit.migration.fake_qdrant.replica import Replica
from tests.unit.migration.world import POINTS, World

SLOW_SECONDS = 20.0
LAG_SECONDS = 8.0


class ClusterWorld(World):
    """`wanders`: reads come from any replica that nothing pins. `kinds`: which events happen, and no others."""

    def __init__(
        self,
        *,
        peers: int = 1,
        shards: int = 1,
        replicas: int = 1,
        wanders: bool = False,
        limits_where_asked: bool = False,
        kinds: Collection[str] = (),
        **given: Any,
    ) -> None:
        self.at_switch: list[tuple[str, int]] = []
        """What happens as soon as the alias has moved: (what, point)."""
        spec = {"shardNumber": shards, "replicationFactor": replicas}
        super().__init__(peers=peers, spec=spec, **given)
        self._replicas, self.kinds = replicas, kinds
        self.server.limits_where_asked = limits_where_asked
        if wanders:
            self.server.wander = Random(peers).choice

    def meddle(self, what: str, point: int = 1) -> None:
        """`event` is one of the kinds that happen here."""
        if what == "event":
            what = sorted(self.kinds)[point % len(self.kinds)] if self.kinds else "change"
        if what == "drop":
            self.application.write("delete", point, looks=False)
        elif what == "change all":
            for number in range(1, POINTS + 1):
                self.application.write("change", number)
        elif what in EVENTS:
            getattr(self, f"_{what.replace(' ', '_')}")(point)
        else:
            super().meddle(what, point)

    def after_call(self, kind: str) -> None:
        before = self._served
        super().after_call(kind)
        if self._served != before:
            steps, self.at_switch = self.at_switch, []
            for what, point in steps:
                self.meddle(what, point)

    # Events; `point` chooses among collections, shards and peers

    def _write_slowly(self, point: int) -> None:
        """Acknowledged at once, and applied a long time later."""
        self.server.pace.work, self.application.wait = SLOW_SECONDS, False
        self.application.write("upsert", point)
        self.server.pace.work, self.application.wait = 0.0, True

    def _travel_apart(self, point: int) -> None:
        """Operations come to one peer later than to the others, and so in another order."""
        self.server.pace.travel = {point % self.server.peers: 0.3}

    def _travel_alike(self, _: int) -> None:
        self.server.pace.travel.clear()

    def _move_shard(self, point: int) -> None:
        name, shard = self._chosen(point)
        peers = [peer for peer in range(self.server.peers) if peer not in self.server.down]
        self.server.move_shard(name, shard, peers[point % len(peers)])

    def _add_replica(self, point: int) -> None:
        name, shard = self._chosen(point)
        self.server.add_replica(name, shard, point % self.server.peers)

    def _restart_peer(self, point: int) -> None:
        self.server.restart(point % self.server.peers)

    def _kill_peer(self, point: int) -> None:
        if self._replicas > 1 and not self.server.down and all(map(self._whole, self.server.names)):
            self.server.kill(point % self.server.peers)

    def _whole(self, name: str) -> bool:
        return all(replica.readable for replica in self.server.shards[name].replicas)

    def _revive_peer(self, _: int) -> None:
        for peer in list(self.server.down):
            self.server.revive(peer)

    def _lag(self, point: int) -> None:
        """A peer follows what is decided some seconds late."""
        self.server.pace.consensus[point % self.server.peers] = LAG_SECONDS

    def _follow(self, _: int) -> None:
        for peer in range(self.server.peers):
            self.server.follow(peer)

    def _lose_alias_request(self, _: int) -> None:
        self.server.losing_aliases = 1

    def _commit_late(self, _: int) -> None:
        before = self.serving
        self.server.commit_late()
        if self.serving != before:
            self._served = self.serving

    def _talk_to(self, point: int) -> None:
        """The service's address leads Teal and the application to another peer each."""
        self.server.route = lambda _: point % self.server.peers
        self.application.peer = (point // 2) % self.server.peers

    def _talk_to_several(self, point: int) -> None:
        """Behind the service's address there are connections to all peers."""
        choose = Random(point)
        self.server.route = lambda _: choose.randrange(self.server.peers)

    def _fall_back(self, point: int) -> None:
        """Some of the reads that are pinned to a replica are answered by another one."""
        choose = Random(point)
        self.server.falls_back = lambda _: choose.random() < 0.5

    def _stay_pinned(self, _: int) -> None:
        self.server.falls_back = lambda _: False

    def _chosen(self, point: int) -> tuple[str, int]:
        names = [state.name for state in self.mine]
        name = names[point % len(names)]
        return name, point % len(self.server.shards[name].shards)

    # The end

    def calm_down(self) -> None:
        """Nothing more happens to the cluster, and what was late has come."""
        self._revive_peer(0)
        self._travel_alike(0)
        self._stay_pinned(0)
        self.server.losing_aliases = 0
        self._commit_late(0)
        self._follow(0)
        self.wait(self.server.pace.transfer + 1.0)
        while any(replica.unapplied for name in self.server.names for replica in self._readable(name)):
            self.wait(SLOW_SECONDS)

    def come_to_rest(self) -> None:
        self.calm_down()
        super().come_to_rest()

    def assert_all_is_stored(self) -> None:
        """Without any migration: what the application was told is on every replica."""
        self.calm_down()
        wrong = self.application.wrong(str(self.serving))
        assert not wrong, self._lost(wrong, str(self.serving))

    def _readable(self, name: str) -> list[Replica]:
        self.server.advance()
        return [replica for replica in self.server.shards[name].replicas if replica.readable]


EVENTS = (
    "write slowly",
    "travel apart",
    "travel alike",
    "move shard",
    "add replica",
    "restart peer",
    "kill peer",
    "revive peer",
    "lag",
    "follow",
    "lose alias request",
    "commit late",
    "talk to",
    "talk to several",
    "fall back",
    "stay pinned",
)
