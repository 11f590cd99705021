"""Failed, Error and Inconclusive are different, and a failure sticks to its plan."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.marks import VERDICT, Marks
from teal.domain.verdict import Check, Verdict, as_mark, failed_for, overall
from tests.unit.domain.builders import metadata, schema

P, F, E, I = Verdict.PASSED, Verdict.FAILED, Verdict.ERROR, Verdict.INCONCLUSIVE  # noqa: E741 - a table


def test_a_gate_without_an_answer_keeps_the_question_open() -> None:
    shown, gate = Check("shown", I, "said"), Check("gate", I, "said", gate=True)
    assert overall([gate, *checks(P)]) is I
    assert overall([gate, shown, *checks(P, E)]) is E
    assert overall([gate, *checks(F, E)]) is F
    assert "gate" not in gate.as_json()


def checks(*verdicts: Verdict) -> list[Check]:
    return [Check(f"check {number}", verdict, "said") for number, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], P),
        ([P, P], P),
        ([P, I], P),
        ([I], P),
        ([P, E], E),
        ([E, I], E),
        ([P, F], F),
        ([E, F, I, P], F),
    ],
)
def test_the_worst_decides(verdicts: list[Verdict], expected: Verdict) -> None:
    assert overall(checks(*verdicts)) is expected


@given(st.permutations([P, F, E, I]), st.integers(0, 4))
def test_order_does_not(verdicts: list[Verdict], length: int) -> None:
    chosen = verdicts[:length]
    assert overall(checks(*chosen)) is overall(checks(*sorted(chosen)))


def test_json_has_what_there_is() -> None:
    assert Check("Counts", P, "equal").as_json() == {"name": "Counts", "verdict": "Passed", "message": "equal"}
    whole = Check("IdParity", F, "2 missing", 0.99999912, 1.0, tuple(map(str, range(20))))
    assert whole.as_json() == {
        "name": "IdParity",
        "verdict": "Failed",
        "message": "2 missing",
        "observed": "0.999999",
        "threshold": "1.0",
        "samples": [str(number) for number in range(10)],
    }


def test_zero_is_an_observation() -> None:
    assert Check("Vectors", P, "", 0.0, 0.0).as_json().items() >= {"observed": "0.0", "threshold": "0.0"}.items()


@pytest.mark.parametrize(("verdict", "sticks"), [(P, False), (F, True), (E, False), (I, False)])
def test_a_failure_sticks_to_its_plan_through_a_restart(verdict: Verdict, sticks: bool) -> None:
    mark = json.loads(json.dumps(as_mark("plan-a", checks(P, verdict))))
    found = Marks.read("c", metadata("c", schema()) | {VERDICT: mark})
    assert found.damaged is None
    assert failed_for(found.verdict, "plan-a") is sticks
    assert not failed_for(found.verdict, "plan-b")


def test_no_verdict_is_no_failure() -> None:
    assert not failed_for(None, "plan-a")
    assert not failed_for({}, "plan-a")
