"""Hypothesis drives the real engine on a cluster: shards move, peers lag and go, operations are under way.

The same stories without a migration come first: they prove that it is not the stories that lose a write.
`TEAL_HYPOTHESIS=3000` tells so many random ones of each setting and prints their seed (`pytest -rA` shows it, too,
where all is well); `TEAL_SEED` tells those of a seed again.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.migration.cluster_world import EVENTS, ClusterWorld
from tests.unit.migration.world import CRASHES, RETAINED, Trouble


@dataclass(frozen=True)
class Setting:
    """What happens to a cluster in a story."""

    kinds: tuple[str, ...] = ()
    most_shards: int = 2
    wanders: bool = False
    restarts: bool = False
    """Whether Teal restarts right after both live collections were written to."""


SETTINGS = {
    "nothing": Setting(most_shards=1),
    "restarts of Teal": Setting(restarts=True),
    "operations under way": Setting(("write slowly",)),
    "replicas that differ": Setting(("travel apart", "travel alike", "talk to several"), wanders=True),
    "pins that fail": Setting(("travel apart", "fall back", "stay pinned"), wanders=True),
    "shards that move": Setting(("move shard", "add replica")),
    "peers that restart": Setting(("restart peer",)),
    "peers that go": Setting(("kill peer", "revive peer")),
    "peers that lag": Setting(("lag", "follow", "talk to")),
    "alias requests that commit late": Setting(("lose alias request", "commit late")),
    "anything": Setting(EVENTS, wanders=True, restarts=True),
}

STORIES = int(os.environ.get("TEAL_HYPOTHESIS", "0"))
"""How many stories to tell of each setting, and random ones; without it, always the same few."""

SEED = int(os.environ.get("TEAL_SEED") or random.SystemRandom().randrange(2**32))
"""What the random ones are made from."""

WRITES = ("upsert", "change", "delete")
BEGUN = ("begin upsert", "begin change", "begin delete", "land")
CALLS = ("point_alias", "telemetry", "mark", "versions", "get", "upsert", "scroll", "patch")

events = st.sampled_from(EVENTS)
points = st.integers(1, 6)
calls = st.integers(1, 60) | st.sampled_from(CALLS)
whats = st.sampled_from(("event", "event", "event", *WRITES, "drop", "change all"))
steps = st.tuples(whats, points)
LOSE = [Trouble("point_alias", "lose alias request")]
troubles = st.lists(
    st.builds(Trouble, calls, whats | st.sampled_from((*BEGUN, *CRASHES)), points),
    max_size=4,
)


class Cluster(RuleBasedStateMachine):
    setting = SETTINGS["anything"]
    migrates = True
    world: ClusterWorld

    @initialize(
        peers=st.integers(1, 3),
        shards=st.integers(1, 2),
        replicas=st.integers(1, 2),
        wanders=st.booleans(),
        limits_where_asked=st.booleans(),
        kinds=st.sets(events),
    )
    def begin(
        self,
        peers: int,
        shards: int,
        replicas: int,
        wanders: bool,
        limits_where_asked: bool,
        kinds: set[str],
    ) -> None:
        """Some kinds of events only, so that one of them is not always hidden by another."""
        self.world = ClusterWorld(
            peers=peers,
            shards=min(shards, self.setting.most_shards),
            replicas=min(peers, replicas),
            wanders=wanders and self.setting.wanders,
            limits_where_asked=limits_where_asked,
            kinds=kinds.intersection(self.setting.kinds) or self.setting.kinds,
        )

    @precondition(lambda self: self.migrates)
    @rule(troubles=troubles, busy=st.sampled_from([0, 0, 3, 10]))
    def reconcile(self, troubles: list[Trouble], busy: int) -> None:
        self.world.wait(self.world.next_wait)
        self.world.reconcile(troubles, busy)

    @precondition(lambda self: self.migrates)
    @rule(
        version=st.sampled_from(["v1", "v2", "v3"]),
        troubles=troubles,
        busy=st.sampled_from([0, 0, 3, 10]),
        at_switch=st.lists(steps, max_size=3),
        after=st.lists(steps, max_size=4),
    )
    def migrate(
        self,
        version: str,
        troubles: list[Trouble],
        busy: int,
        at_switch: list[tuple[str, int]],
        after: list[tuple[str, int]],
    ) -> None:
        """As far as to the switch, for there things matter most."""
        self.world.encode_by(schemaVersion=version)
        self.world.until("Promoting", slices=25, busy=busy)
        self.world.wait(self.world.next_wait)
        self.world.at_switch = at_switch
        self.world.reconcile(troubles, busy)
        for what, point in after:
            self.world.meddle(what, point)

    @precondition(lambda self: self.migrates and "lose alias request" in self.world.kinds)
    @rule(
        version=st.sampled_from(["v1", "v2", "v3"]),
        before=st.lists(steps, min_size=1, max_size=4),
        after=st.lists(steps, min_size=1, max_size=4),
    )
    def switch_late(self, version: str, before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
        """The request is lost, and decided some writes later."""
        self.migrate(version=version, troubles=LOSE, busy=0, at_switch=[], after=before)
        for what, point in (("commit late", 0), *after):
            self.world.meddle(what, point)

    @precondition(lambda self: self.migrates and self.setting.restarts)
    @rule(
        retained=st.lists(st.tuples(st.sampled_from(WRITES), st.sampled_from(RETAINED)), max_size=3),
        served=st.lists(steps, max_size=3),
    )
    def restart(self, retained: list[tuple[str, int]], served: list[tuple[str, int]]) -> None:
        """Both live collections have been written to, and nobody remembers at which versions they were in step."""
        for what, point in retained:
            self.world.write_retained(what, point)
        for what, point in served:
            self.world.meddle(what, point)
        self.world.restart()
        self.world.wait(120.0)
        for _ in range(3):
            self.world.reconcile()

    @precondition(lambda self: self.migrates)
    @rule(action=st.sampled_from(["abort", "retry", "rollback"]))
    def annotate(self, action: str) -> None:
        self.world.annotate(action)

    @rule(step=steps)
    def happens(self, step: tuple[str, int]) -> None:
        self.world.meddle(*step)

    @rule(what=st.sampled_from((*WRITES, *BEGUN)), point=points)
    def write(self, what: str, point: int) -> None:
        self.world.meddle(what, point)

    @precondition(lambda self: self.migrates)
    @rule(what=st.sampled_from(WRITES), point=st.sampled_from(RETAINED))
    def write_retained(self, what: str, point: int) -> None:
        self.world.write_retained(what, point)

    @rule(seconds=st.sampled_from([0.2, 2.0, 15.0, 120.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                if self.migrates:
                    self.world.come_to_rest()
                else:
                    self.world.assert_all_is_stored()
            finally:
                self.world.close()


class WithoutMigration(Cluster):
    migrates = False


def tell(machine: type[Cluster], stories: int, steps: int, **more: Any) -> None:
    """Tell stories of this machine."""
    if STORIES:
        print(f"TEAL_SEED={SEED} TEAL_HYPOTHESIS={STORIES} tells these stories again")
        machine = seed(SEED)(machine)
    asked = settings(
        max_examples=STORIES or stories,
        stateful_step_count=2 * steps if STORIES else steps,
        derandomize=not STORIES,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    run_state_machine_as_test(machine, settings=asked)


@pytest.mark.timeout(0 if STORIES else 300)
def test_without_a_migration_no_write_is_lost() -> None:
    tell(WithoutMigration, stories=30, steps=40)


@pytest.mark.timeout(0 if STORIES else 300)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_migration_loses_no_write_by(name: str) -> None:
    machine = type("Cluster", (Cluster,), {"setting": SETTINGS[name]})
    tell(machine, stories=8, steps=15)
