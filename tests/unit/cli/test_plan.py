"""A plan in words and for machines, of the same decision that the operator would carry out."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from teal.api.manifest import parse
from teal.api.vector_collection import VectorCollection
from teal.cli import plan as command
from teal.cli.gates import gates
from teal.cli.plan import describe, steps
from teal.domain.actions import Asked
from teal.domain.errors import TerminalError
from teal.domain.forecast import Forecast
from teal.domain.observed import CollectionState
from teal.domain.plan import Desired
from teal.domain.policy import decide
from teal.domain.schema import Datatype
from teal.domain.transitions import Stage
from teal.domain.tuning import Tuning
from teal.migration.copying.forecast import Cost
from teal.migration.report.record import ReconcileRecord
from tests.unit.api.manifests import collection
from tests.unit.domain.builders import NOW, dense, desired, name_of, observed, schema, state
from tests.unit.domain.builders import planned as as_planned
from tests.unit.migration.test_report import RESOURCE

V1, V2 = schema(), schema(version="v2")
BLUE, GREEN = name_of(V1), name_of(V2)


def planned(wanted: Desired, *states: CollectionState, alias: str | None = None) -> ReconcileRecord:
    lesser = {"docs-v1": BLUE} if alias == BLUE else {}
    seen = as_planned(wanted, observed(*states, alias=alias, **lesser))
    return ReconcileRecord(RESOURCE, NOW, desired=wanted, observed=seen, decision=decide(wanted, seen, NOW))


def printed(found: ReconcileRecord) -> str:
    console = Console(file=io.StringIO(), soft_wrap=True)
    command.render(console, found)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


FIRST = planned(desired(V1))
RESTING = planned(desired(V1), state(V1), alias=BLUE)
COPY = planned(desired(V2), state(V1), alias=BLUE)
REEMBED = planned(desired(V2, has_embedder=True, text_field="text"), state(V1), alias=BLUE)
IN_PLACE = planned(desired(V1, tuning=Tuning({"hnsw_config": {"m": 32}})), state(V1), alias=BLUE)
BACK = planned(desired(V1), state(V1, replaced=NOW), state(V2), alias=GREEN)
RETIRE = planned(desired(V1, keep_for=0.0), state(V1), state(V2, replaced=0.0), alias=BLUE)


class TestSteps:
    def test_nothing_to_do(self) -> None:
        assert steps(RESTING) == []

    def test_the_first_revision(self) -> None:
        assert steps(FIRST) == [f"create {BLUE}", "index", "point the alias at it"]

    @pytest.mark.parametrize(("found", "verb"), [(COPY, "copy"), (REEMBED, "embed the text of")])
    def test_blue_green(self, found: ReconcileRecord, verb: str) -> None:
        named = steps(found)
        assert named[:2] == [f"create {GREEN} beside {BLUE}", f"{verb} its points, while {BLUE} serves"]
        assert named[-1] == f"watch, then keep {BLUE} until its retention ends"

    def test_in_place(self) -> None:
        assert steps(IN_PLACE) == ["set hnsw_config.m: 16 → 32"]

    def test_rolling_back(self) -> None:
        assert steps(BACK)[0].startswith(f"bring {BLUE}, which is retained")

    def test_housekeeping_names_what_it_is_about(self) -> None:
        assert steps(RETIRE) == [f"retire {GREEN}"]

    @pytest.mark.parametrize("found", [FIRST, RESTING, COPY, REEMBED, IN_PLACE, BACK, RETIRE])
    def test_no_word_is_left_open(self, found: ReconcileRecord) -> None:
        assert not any("{" in line or "None" in line for line in steps(found))


class TestDescribe:
    def test_a_migration(self) -> None:
        COPY.session.part(Cost).forecast = Forecast(10, 1000, 1, 0, 0)
        row = json.loads(json.dumps(describe(COPY)))
        assert COPY.decision
        assert row == {
            "resource": "search/docs",
            "alias": "docs",
            "next": "provision",
            "rule": "provision",
            "strategy": "BlueGreen",
            "planHash": COPY.decision.plan.hash,
            "source": BLUE,
            "target": GREEN,
            "population": "Copy",
            "reasons": ["schemaVersion: v1 → v2"],
            "warnings": [],
            "steps": steps(COPY),
            "gates": {
                "verification": {"minCoverage": 1.0, "sample": 1000, "maxLatencyRatio": 2.0, "minOverlap": 0.95},
                "promotion": {"mode": "Automatic", "approved": True},
                "fence": {"mode": "WhenBusy", "quietWait": "5m", "maxFence": "10s"},
            },
            "forecast": {"points": 10, "bytes": 1000, "seconds": 1, "embeddingTexts": 0, "embeddingTokens": 0},
        }

    def test_rest(self) -> None:
        row = describe(RESTING)
        assert (row["next"], row["rule"], row["strategy"]) == ("rest", "rest", "Nothing")
        assert (row["steps"], row["gates"]) == ([], {})

    def test_a_refusal(self) -> None:
        found = ReconcileRecord(RESOURCE, NOW, error=TerminalError("AliasNotOwned", "Choose another."))
        assert describe(found) == {
            "resource": "search/docs",
            "alias": "docs",
            "error": {"reason": "AliasNotOwned", "message": "Choose another."},
        }

    def test_nothing_known(self) -> None:
        assert describe(ReconcileRecord(RESOURCE, NOW)) == {"resource": "search/docs", "alias": "docs"}


def gated(found: ReconcileRecord, now: float = NOW, **spec: Any) -> ReconcileRecord:
    """`found`, for a resource with more in its spec."""
    manifest = parse(collection(**spec))
    assert isinstance(manifest, VectorCollection)
    return replace(found, resource=replace(RESOURCE, manifest=manifest), now=now)


WINDOWS = [{"schedule": "0 2 * * *", "duration": "2h", "timeZone": "Europe/Berlin"}]
IN_THE_WINDOW = datetime(2026, 1, 5, 1, 30, tzinfo=UTC).timestamp()
AFTER_IT = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()


class TestGates:
    """What has to be true before the cut-over."""

    def test_nothing_moves_so_nothing_is_needed(self) -> None:
        assert [gates(each) for each in (RESTING, FIRST, IN_PLACE, RETIRE)] == [[], [], [], []]

    def test_a_rollback_has_the_fence_alone(self) -> None:
        asked = {"promotion": {"mode": "Manual", "windows": WINDOWS, "fence": "Never", "quietWait": "90s"}}
        assert describe(gated(BACK, migration=asked))["gates"] == {
            "fence": {"mode": "Never", "quietWait": "1m30s"}
        }

    def test_an_approval_that_is_missing(self) -> None:
        found = gated(COPY, migration={"promotion": {"mode": "Manual"}})
        assert found.decision
        assert describe(found)["gates"]["promotion"] == {"mode": "Manual", "approved": False}
        assert f"gate      approval: manual: annotate teal.dev/promote={found.decision.plan.hash}" in printed(
            found
        )

    def test_an_approval_that_is_given_for_this_plan(self) -> None:
        assert COPY.decision
        approved = desired(V2, asked=Asked(promote=COPY.decision.plan.hash))
        found = gated(planned(approved, state(V1), alias=BLUE), migration={"promotion": {"mode": "Manual"}})
        assert describe(found)["gates"]["promotion"] == {"mode": "Manual", "approved": True}

    @pytest.mark.parametrize(
        ("now", "field", "moment"),
        [(IN_THE_WINDOW, "openUntil", "2026-01-05T03:00:00Z"), (AFTER_IT, "nextOpening", "2026-01-06T01:00:00Z")],
    )
    def test_a_window_and_when_it_opens(self, now: float, field: str, moment: str) -> None:
        found = gated(COPY, now, migration={"promotion": {"windows": WINDOWS}})
        assert describe(found)["gates"]["windows"] == {field: moment, "windows": WINDOWS}
        assert moment in printed(found)

    def test_the_hook_before_the_cut_over_and_not_the_one_after_it(self) -> None:
        hooks = {"beforeSwitch": {"url": "http://gate/ask"}, "afterSwitch": {"url": "http://gate/told"}}
        found = gated(COPY, migration={"hooks": hooks})
        assert describe(found)["gates"]["beforeSwitch"] == {"url": "http://gate/ask"}
        assert "http://gate/told" not in printed(found)

    def test_thresholds_and_judged_queries(self) -> None:
        golden = {"configMapRef": {"name": "judged"}, "minRecall": 0.9}
        verification = {"minCoverage": 0.99, "sample": 50, "maxLatencyRatio": 3, "goldenQueries": golden}
        row = describe(gated(REEMBED, verification=verification))["gates"]
        assert row["goldenQueries"] == {"configMap": "judged", "minRecall": 0.9}
        assert row["verification"] == {"minCoverage": 0.99, "sample": 50, "maxLatencyRatio": 3.0}

    def test_who_writes_to_both_needs_no_fence(self) -> None:
        found = gated(COPY, migration={"writes": "DualWrite"})
        assert describe(found)["gates"]["fence"] == {"mode": "Never"}


class TestPrinted:
    def test_a_migration(self) -> None:
        wanted = desired(schema(dense(datatype=Datatype.FLOAT16), version="v2"))
        text = printed(planned(wanted, state(V1), alias=BLUE))
        assert "search/docs (alias docs)" in text
        assert "reason    schemaVersion: v1 → v2" in text
        assert "warning   Float16 stores vectors with less precision than Float32" in text
        assert f"1. create {wanted.target} beside {BLUE}" in text
        assert "next      provision (rule provision)" in text
        assert (
            "gate      fence: no write for the time of one pass; after 5m writers get 429 for at most 10s" in text
        )

    def test_rest(self) -> None:
        assert "nothing to do: Qdrant is as declared" in printed(RESTING)

    def test_brackets_are_words_not_markup(self) -> None:
        wanted = desired(V1, tuning=Tuning(indexes={"chunks[].id": {"type": "uuid"}}))
        assert "payload_index.chunks[].id" in printed(planned(wanted, state(V1), alias=BLUE))
        refusal: Any = TerminalError("X", "see [spec.alias]")
        assert "see [spec.alias]" in printed(ReconcileRecord(RESOURCE, NOW, error=refusal))


def test_a_migration_under_way_is_planned_from_where_it_is() -> None:
    found = planned(desired(V2), state(V1), state(V2, Stage.INDEXING), alias=BLUE)
    assert (describe(found)["next"], describe(found)["rule"]) == ("build the indexes", "go_on")
    assert steps(found) == steps(COPY)
