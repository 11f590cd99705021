"""What status says of a cut-over: each wording with the situation in which it may stand, and never more."""

from __future__ import annotations

import pytest

from teal.migration.cutover.proof import (
    HELD,
    NOTHING_LATE,
    PROVED,
    RESTED,
    UNHELD,
    WAS_QUIET,
    Proof,
    in_words,
)

WHY = "a peer was started again"


def proof(**given: object) -> Proof:
    return Proof(**{"mode": "Fenced", "unproved": None, "fence_millis": 400.0, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["Quiet", "Fenced", "Unfenced"])
def test_only_a_count_that_came_out_proves(mode: str) -> None:
    assert in_words(proof(mode=mode)) == PROVED
    assert proof(mode=mode).as_json()["proved"] is True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"barrier_passed": True}, (NOTHING_LATE, HELD + RESTED), id="fence and barrier"),
        pytest.param({"barrier_passed": False}, (NOTHING_LATE, HELD + "."), id="fence, the barrier was refused"),
        pytest.param(
            {"late_writes": 3, "conflicts": 1},
            ("3 late writes were copied", "1 were in conflict"),
            id="late writes",
        ),
        pytest.param({"conflicts": 2}, ("0 late writes were copied", "2 were in conflict"), id="conflicts alone"),
        pytest.param({"mode": "Quiet", "fence_millis": 0.0}, (WAS_QUIET,), id="quiet, without a fence"),
        pytest.param({"mode": "Unfenced", "fence_millis": 0.0}, (UNHELD,), id="without a fence"),
        pytest.param(
            {"mode": "Quiet", "barrier_passed": True}, (HELD + RESTED,), id="quiet, fenced for an instant"
        ),
    ],
)
def test_what_is_not_proved_says_why_and_what_was_done(given: dict[str, object], said: tuple[str, ...]) -> None:
    told = proof(unproved=WHY, **given)
    words = in_words(told)
    assert words.startswith(f"not proved ({WHY}): ")
    assert all(part in words for part in said), words
    assert PROVED not in words
    assert "no write was missed" not in words
    assert told.as_json()["proved"] is False


@pytest.mark.parametrize("unproved", [None, WHY])
def test_what_rests_on_a_trusted_field_says_so(unproved: str | None) -> None:
    told = proof(unproved=unproved, trusted_field="at")
    assert "if every write raises at" in in_words(told)
    assert told.as_json()["trustedField"] == "at"
    assert "if every" not in in_words(proof(unproved=unproved))
    assert "trustedField" not in proof().as_json()


def test_without_a_barrier_rest_is_not_claimed() -> None:
    assert RESTED not in in_words(proof(unproved=WHY, barrier_passed=False))
    assert RESTED not in in_words(proof(unproved=WHY, mode="Unfenced", fence_millis=0.0))
