"""Short ways to ask the policy: three revisions, and what is to be done about collections of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from teal.domain.errors import TerminalError
from teal.domain.marks import Declined, InStep, Replaced
from teal.domain.observed import CollectionState
from teal.domain.plan import Desired
from teal.domain.policy import Decision, Do, Rounds, decide
from teal.domain.schema import Schema
from teal.domain.transitions import HAS_SERVED, Stage
from tests.unit.domain.builders import ME, NOW, desired, name_of, observed, planned, schema

V1, V2, V3 = schema(), schema(version="v2"), schema(version="v3")
BLUE, GREEN, THIRD = name_of(V1), name_of(V2), name_of(V3)
WORKING = sorted(set(Stage) - HAS_SERVED - {Stage.PROVISIONING, Stage.PROMOTING})
OLD_ME = replace(ME, uid="uid-0")
LESSER = {"docs-v1": BLUE, "docs-v2": GREEN, "docs-v3": THIRD}


def next_of(
    wanted: Schema | Desired,
    *states: CollectionState,
    alias: str | None = None,
    rounds: Rounds | None = None,
    **more: Any,
) -> Decision:
    """The decision about these collections, with the lesser aliases where they belong."""
    names = {each.name for each in states}
    aliases = {lesser: name for lesser, name in LESSER.items() if name in names and name == alias}
    target = wanted if isinstance(wanted, Desired) else desired(wanted)
    seen = observed(*states, alias=alias, **aliases, **more)
    return decide(target, planned(target, seen), NOW, rounds)


def refused(wanted: Schema | Desired, *states: CollectionState, alias: str | None = None, **more: Any) -> str:
    """The reason and the message of the refusal."""
    with pytest.raises(TerminalError) as error:
        next_of(wanted, *states, alias=alias, **more)
    return f"{error.value.reason}: {error.value.message}"


def does(decision: Decision) -> tuple[Do, str | None]:
    return decision.do, decision.subject


def declining(found: CollectionState, wanted: Desired, *, lifted: bool = False) -> CollectionState:
    """`found` with the mark that the way from it to `wanted` is declined; what was tried was `tried-1`."""
    mark = Declined(wanted.wish, "tried", 1, "RolledBack", "Somebody said so.", NOW, lifted)
    return replace(found, marks=replace(found.marks, declined=mark))


def in_step_with(found: CollectionState, *others: str) -> CollectionState:
    """`found` with notes of when it held the same as the others."""
    noted = {name: InStep(name) for name in others}
    return replace(found, marks=replace(found.marks, in_step=noted))


def replaced_by(found: CollectionState, newer: str, at: float = NOW) -> CollectionState:
    return replace(found, marks=replace(found.marks, replaced=Replaced(newer, at)))
