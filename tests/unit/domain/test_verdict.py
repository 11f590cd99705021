"""Failed, Error and Inconclusive are different, and a failure sticks to its plan."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.marks import Marks, StoredVerdict
from teal.domain.verdict import Check, Verdict, overall
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


@pytest.mark.parametrize("verdict", Verdict)
def test_what_was_found_is_kept_through_a_restart(verdict: Verdict) -> None:
    whole = Check("IdParity", verdict, "2 missing", 0.5, 1.0, ("7", "8"))
    stored = StoredVerdict.of("plan-a", [*checks(P), whole])
    found = Marks.read(
        "c", metadata("c", schema()) | {StoredVerdict.KEY: json.loads(json.dumps(stored.as_json()))}
    )
    assert found.damaged is None
    assert found.verdict == stored
    assert (stored.plan_hash, stored.verdict) == ("plan-a", overall([*checks(P), whole]))
    assert stored.as_json()["checks"] == [*(each.as_json() for each in checks(P)), whole.as_json()]
