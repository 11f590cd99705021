"""What to do next: the policy as an ordered chain of named, pure rules."""

from teal.domain.policy.actions import Decision, Do
from teal.domain.policy.chain import RULES, Rule, decide, decide_on
from teal.domain.policy.view import Rounds, RoundTimes, View, is_declared_revision, retained_source

__all__ = [
    "RULES",
    "Decision",
    "Do",
    "RoundTimes",
    "Rounds",
    "Rule",
    "View",
    "decide",
    "decide_on",
    "is_declared_revision",
    "retained_source",
]
