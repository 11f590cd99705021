"""Whose a collection is: the resource's, and the alias's that it was made for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from teal.domain.marks import Owner
from teal.domain.observed import CollectionState
from teal.domain.ownership import mine, ours
from teal.domain.policy import Do, decide
from teal.domain.schema import collection_name
from teal.domain.transitions import Stage
from tests.unit.domain.builders import DAY, ME, NOW, SOMEBODY, desired, observed, schema, state

STAGING = replace(ME, alias="docs-staging")
"""The same manifest, applied for another alias."""
V1 = schema(version="v1")
SERVING = {ME.alias: state(V1).name, f"{ME.alias}-v1": state(V1).name}
"""The aliases of the first revision."""


def staged(version: str, stage: Stage = Stage.READY, **more: object) -> CollectionState:
    made = schema(version=version)
    return state(made, stage, name=collection_name(STAGING.alias, made), identity=STAGING, **more)  # type: ignore[arg-type]


def marked(found: CollectionState, **changes: object) -> CollectionState:
    """The same with another owner mark."""
    owner = found.marks.owner
    assert owner
    return replace(found, marks=replace(found.marks, owner=replace(owner, **changes)))  # type: ignore[arg-type]


def test_a_collection_of_another_alias_is_not_ours() -> None:
    blue, green = staged("v1"), staged("v2", Stage.VERIFYING)
    assert list(mine(observed(state(V1), blue, green), ME)) == [state(V1).name]
    assert list(mine(observed(state(V1), blue, green), STAGING)) == [blue.name, green.name]


def test_a_new_uid_does_not_make_another_alias_ours() -> None:
    assert not ours(staged("v1"), replace(ME, uid="uid-9"))
    assert ours(staged("v1"), replace(STAGING, uid="uid-9"))
    assert not ours(state(V1, identity=SOMEBODY), replace(ME, alias=SOMEBODY.alias))


@pytest.mark.parametrize("stage", [Stage.POPULATING, Stage.VERIFYING, Stage.HELD])
def test_the_green_of_another_alias_is_not_dropped(stage: Stage) -> None:
    seen = observed(state(V1), staged("v2", stage), **SERVING)
    assert decide(desired(V1), seen, NOW).do is Do.REST


def test_the_blue_of_another_alias_is_not_retired() -> None:
    seen = observed(state(V1), staged("v2", replaced=NOW - 9 * DAY), **SERVING)
    assert decide(desired(V1), seen, NOW).do is Do.REST


def test_the_alias_is_not_restored_to_a_collection_of_another_one() -> None:
    assert decide(desired(V1), observed(staged("v1")), NOW).do is Do.PROVISION


class TestMarksWithoutAnAlias:
    """Those of an older Teal."""

    def test_the_name_of_a_collection_that_teal_created_says_it(self) -> None:
        assert ours(marked(state(V1), alias=""), ME)
        assert not ours(marked(staged("v1"), alias=""), ME)
        assert ours(marked(staged("v1"), alias=""), STAGING)

    def test_an_adopted_one_goes_by_the_rest(self) -> None:
        adopted = state(V1, name="legacy")
        assert ours(marked(adopted, alias="", adopted=True), ME)
        assert not ours(marked(adopted, alias="other", adopted=True), ME)
        assert not ours(marked(adopted, alias="", adopted=True), SOMEBODY)

    def test_they_are_completed(self) -> None:
        old = marked(state(V1), alias="")
        decision = decide(desired(V1), observed(old, **SERVING), NOW)
        assert (decision.do, decision.subject) == (Do.CLAIM, old.name)
        new = marked(state(V1), alias=ME.alias)
        assert decide(desired(V1), observed(new, **SERVING), NOW).do is Do.REST

    def test_they_can_be_read(self) -> None:
        assert Owner.from_json({"uid": "u", "collection": "c", "revision": "r", "schemaVersion": "v1"}).alias == ""
