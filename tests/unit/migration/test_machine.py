"""Hypothesis drives the real engine through edits, crashes, faults and helping hands, while an application writes.

After every move the promises of `world.py` hold; in the end, when all trouble is over, what is declared comes
about and holds exactly what the application was told is stored. `TEAL_HYPOTHESIS=5000` looks for longer.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.unit.domain.worlds import SIZES
from tests.unit.migration.world import CRASHES, FAILURES, OFTEN, RETAINED, Trouble, World

WRITES = ("upsert", "change", "delete")
MEANWHILE = (*WRITES, *(f"begin {each}" for each in WRITES), "land")
PHASES = ("Populating", "Indexing", "Verifying", "AwaitingPromotion", "Promoting", "Watching", "Ready")

CALLS = (
    "point_alias",
    "telemetry",
    "aliases",
    "mark",
    "patch",
    "create",
    "delete",
    "upsert",
    "versions",
    "scroll",
)

often = st.sampled_from(OFTEN)
troubles = st.lists(
    st.builds(
        Trouble,
        st.integers(1, 40) | st.integers(1, 250) | st.sampled_from(CALLS),
        st.sampled_from(CRASHES) | st.sampled_from(FAILURES) | st.sampled_from(MEANWHILE),
        often,
    ),
    max_size=4,
)
busy = st.sampled_from([0, 0, 0, 3, 10])
SPECS: list[dict[str, Any]] = [
    {"hnsw": {"m": 32}},
    {"hnsw": {"m": 16}},
    {"payloadIndexes": [{"field": "n", "type": "integer"}]},
    {"payloadIndexes": []},
    {"shardNumber": 2},
    {"shardNumber": 1},
    {"retention": {"keepFor": "1h"}},
    {"retention": {"keepFor": "24h", "snapshot": True}},
    {"migration": {"promotion": {"mode": "Manual"}}},
    {"migration": {"promotion": {"mode": "Automatic"}}},
    {"watch": {"duration": "0s"}},
    {"watch": {"duration": "20s"}},
    {"suspend": True},
    {"suspend": False},
]


class Migrations(RuleBasedStateMachine):
    world: World

    @initialize(
        embeds=st.booleans(),
        telemetry=st.sampled_from([True, True, False]),
        latency=st.sampled_from([0.001, 0.05]),
    )
    def begin(self, embeds: bool, telemetry: bool, latency: float) -> None:
        self.world = World(embeds=embeds, telemetry=telemetry, latency=latency)

    # Teal

    @rule(troubles=troubles, busy=busy, due=st.booleans())
    def reconcile(self, troubles: list[Trouble], busy: int, due: bool) -> None:
        if due:
            self.world.wait(self.world.next_wait)
        self.world.reconcile(troubles, busy)

    @rule(phase=st.sampled_from(PHASES), busy=busy)
    def go_on(self, phase: str, busy: int) -> None:
        self.world.until(phase, slices=15, busy=busy)

    @rule(version=st.sampled_from(["v1", "v2", "v3"]), busy=busy)
    def migrate(self, version: str, busy: int) -> None:
        """All the way, so that there is often something retained."""
        self.world.encode_by(schemaVersion=version)
        self.world.reconcile()
        self.world.until("Ready", slices=25, busy=busy)

    @rule(
        version=st.sampled_from(["v1", "v2", "v3"]),
        at=st.sampled_from(CALLS) | st.integers(1, 80),
        what=st.sampled_from((*CRASHES, *FAILURES)),
        busy=st.sampled_from([0, 3]),
    )
    def stumble_at_the_cutover(self, version: str, at: int | str, what: str, busy: int) -> None:
        """Where the promises are at stake, one interruption."""
        self.world.encode_by(schemaVersion=version)
        self.world.reconcile()
        if not self.world.until("Promoting", slices=25, busy=busy):
            return
        before = self.world.serving
        for _ in range(8):
            self.world.wait(self.world.next_wait)
            if self.world.reconcile([Trouble(at, what)], busy) is None or self.world.serving != before:
                return

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(leads=st.sampled_from([False, True]))
    def lead(self, leads: bool) -> None:
        self.world.leads = leads

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0, 120.0, 2000.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(share=st.sampled_from([0.6, 1.0]))
    def wait_for_retention(self, share: float) -> None:
        self.world.wait(share * self.world.keep_for)

    # Users

    @rule(version=st.sampled_from(["v1", "v2", "v3"]))
    def change_version(self, version: str) -> None:
        self.world.encode_by(schemaVersion=version)

    @rule(distance=st.sampled_from(["Cosine", "Dot"]))
    def change_distance(self, distance: str) -> None:
        self.world.encode_by(distance=distance)

    @precondition(lambda self: self.world.embedding_set)
    @rule(model=st.sampled_from(sorted(SIZES)))
    def change_model(self, model: str) -> None:
        self.world.encode_by(model=model, dimensions=SIZES[model])

    @rule(changes=st.sampled_from(SPECS))
    def edit(self, changes: dict[str, Any]) -> None:
        self.world.edit(**changes)

    @rule(
        action=st.sampled_from(["promote", "abort", "retry", "rollback"]),
        stale=st.sampled_from([False, False, True]),
    )
    def annotate(self, action: str, stale: bool) -> None:
        self.world.annotate(action, stale=stale)

    @rule()
    def wipe_status(self) -> None:
        self.world.status = {}

    @rule()
    def delete_alias(self) -> None:
        self.world.delete_alias()

    @rule()
    def delete_green(self) -> None:
        self.world.delete_green()

    # The application

    @rule(what=st.sampled_from(MEANWHILE), point=often)
    def write(self, what: str, point: int) -> None:
        self.world.meddle(what, point)

    @rule(what=st.sampled_from(WRITES), point=st.sampled_from(RETAINED))
    def write_retained(self, what: str, point: int) -> None:
        self.world.write_retained(what, point)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.come_to_rest()
            finally:
                self.world.close()


EXAMPLES = int(os.environ.get("TEAL_HYPOTHESIS", "0"))
"""How many stories to tell, and random ones; without it, always the same few."""

# Against hanging, not for speed: all stories are one test, which takes two minutes on an idle core.
TestMigrations = pytest.mark.timeout(0 if EXAMPLES else 900)(Migrations.TestCase)
TestMigrations.settings = settings(
    max_examples=EXAMPLES or 40,
    stateful_step_count=30 if EXAMPLES else 20,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_three_revisions_and_back_to_the_one_between() -> None:
    """What was deleted while the third served is gone from the second, too, though the way went by the first."""
    story = Migrations()
    story.begin(embeds=False, telemetry=True, latency=0.05)
    story.migrate(version="v3", busy=0)
    story.stumble_at_the_cutover(version="v2", at="point_alias", what="crash before", busy=0)
    story.go_on(phase="Ready", busy=10)
    story.migrate(version="v1", busy=0)
    story.migrate(version="v3", busy=0)
    story.teardown()


def test_back_by_each_revision_in_turn() -> None:
    """Each that is retained is kept in step, also with one that it went back to and not only came from."""
    story = Migrations()
    story.begin(embeds=False, telemetry=True, latency=0.001)
    for version in ("v2", "v3", "v2", "v1"):
        story.migrate(version=version, busy=10)
        story.wait(seconds=5.0)
    story.teardown()
