"""The chain as a whole: rows with names and reasons, and the same decision in whatever order things are seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teal.domain.errors import TerminalError
from teal.domain.observed import Observed
from teal.domain.plan import Desired
from teal.domain.policy import RULES, Decision, Rounds, Rule, decide
from tests.unit.domain.builders import ALIAS, NOW
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.domain.worlds import declarations, worlds

NAMES = [rule.name for rule in RULES]


def test_each_rule_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_says_in_a_sentence_why_it_stands_where_it_stands(rule: Rule) -> None:
    assert rule.why[0].isupper() or rule.why.startswith("`")
    assert rule.why.endswith(".")
    assert len(rule.why.split()) >= 5


def outcome(wanted: Desired, seen: Observed, rounds: Rounds | None) -> Decision | str:
    try:
        return decide(wanted, seen, NOW, rounds)
    except TerminalError as refusal:
        return f"{refusal.reason}: {refusal.message}"


def turned(seen: Observed) -> Observed:
    """The same, seen in the opposite order."""
    states, aliases = reversed(seen.states.items()), reversed(seen.aliases.items())
    return replace(seen, states=dict(states), aliases=dict(aliases))


@settings(max_examples=300)
@given(worlds(), declarations, st.sampled_from([None, {}]))
def test_any_world_is_decided_by_one_rule_and_always_alike(
    server: Qdrant, wanted: Desired, rounds: Rounds | None
) -> None:
    seen = server.observe(ALIAS, wanted.adopt)
    decision = outcome(wanted, seen, rounds)
    assert outcome(wanted, seen, rounds) == decision
    assert outcome(wanted, turned(seen), rounds) == decision
    if isinstance(decision, Decision):
        assert decision.main.rule in NAMES
        assert decision.rule in (decision.main.rule, "interleave")
