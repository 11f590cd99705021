"""A plan in words and for machines, of the same decision that the operator would carry out."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from teal.cli import plan as command
from teal.cli.plan import describe, steps
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
            "strategy": "BlueGreen",
            "planHash": COPY.decision.plan.hash,
            "source": BLUE,
            "target": GREEN,
            "population": "Copy",
            "reasons": ["schemaVersion: v1 → v2"],
            "warnings": [],
            "steps": steps(COPY),
            "forecast": {"points": 10, "bytes": 1000, "seconds": 1, "embeddingTexts": 0, "embeddingTokens": 0},
        }

    def test_rest(self) -> None:
        row = describe(RESTING)
        assert (row["next"], row["strategy"], row["steps"]) == ("rest", "Nothing", [])

    def test_a_refusal(self) -> None:
        found = ReconcileRecord(RESOURCE, NOW, error=TerminalError("AliasNotOwned", "Choose another."))
        assert describe(found) == {
            "resource": "search/docs",
            "alias": "docs",
            "error": {"reason": "AliasNotOwned", "message": "Choose another."},
        }

    def test_nothing_known(self) -> None:
        assert describe(ReconcileRecord(RESOURCE, NOW)) == {"resource": "search/docs", "alias": "docs"}


class TestPrinted:
    def test_a_migration(self) -> None:
        wanted = desired(schema(dense(datatype=Datatype.FLOAT16), version="v2"))
        text = printed(planned(wanted, state(V1), alias=BLUE))
        assert "search/docs (alias docs)" in text
        assert "reason    schemaVersion: v1 → v2" in text
        assert "warning   Float16 stores vectors with less precision than Float32" in text
        assert f"1. create {wanted.target} beside {BLUE}" in text

    def test_rest(self) -> None:
        assert "nothing to do: Qdrant is as declared" in printed(RESTING)

    def test_brackets_are_words_not_markup(self) -> None:
        wanted = desired(V1, tuning=Tuning(indexes={"chunks[].id": {"type": "uuid"}}))
        assert "payload_index.chunks[].id" in printed(planned(wanted, state(V1), alias=BLUE))
        refusal: Any = TerminalError("X", "see [spec.alias]")
        assert "see [spec.alias]" in printed(ReconcileRecord(RESOURCE, NOW, error=refusal))


def test_a_migration_under_way_is_planned_from_where_it_is() -> None:
    found = planned(desired(V2), state(V1), state(V2, Stage.INDEXING), alias=BLUE)
    assert describe(found)["next"] == "build the indexes"
    assert steps(found) == steps(COPY)
