"""One situation, one next thing to do. Each test names what happened; the order of checks is the policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from teal.domain.errors import TransientError
from teal.domain.marks import Encoder, Marks
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import has_served, ours, stage_of
from teal.domain.plan import Population, Reason, Strategy
from teal.domain.policy import Do, View, decide
from teal.domain.policy.actions import OF_STAGE
from teal.domain.policy.repairs import misplaced_aliases
from teal.domain.schema import Distance, Schema
from teal.domain.transitions import Stage
from teal.domain.tuning import Change, Tuning
from tests.unit.domain.builders import (
    ALIAS,
    DAY,
    ME,
    NOW,
    SOMEBODY,
    dense,
    desired,
    name_of,
    observed,
    schema,
    state,
)
from tests.unit.domain.policy.asking import (
    BLUE,
    GREEN,
    OLD_ME,
    THIRD,
    V1,
    V2,
    V3,
    WORKING,
    does,
    next_of,
    refused,
)


class TestTheFirstRevision:
    def test_nothing_is_there(self) -> None:
        decision = next_of(V1)
        assert does(decision) == (Do.PROVISION, BLUE)
        assert (decision.plan.strategy, decision.plan.source) == (Strategy.CREATE, None)

    @pytest.mark.parametrize("stage", [*WORKING, Stage.PROMOTING])
    def test_it_is_under_way(self, stage: Stage) -> None:
        assert does(next_of(V1, state(V1, stage))) == (OF_STAGE[stage], BLUE)

    def test_the_spec_changed_meanwhile(self) -> None:
        assert does(next_of(V2, state(V1, Stage.INDEXING))) == (Do.DROP_ABANDONED, BLUE)

    def test_the_alias_was_set_and_then_it_crashed(self) -> None:
        assert does(next_of(V1, state(V1, Stage.PROMOTING), alias=BLUE)) == (Do.FINISH_CUTOVER, BLUE)

    def test_other_collections_are_nobodys_business(self) -> None:
        assert does(next_of(V1, names=("somebodys", "docs-of-theirs"))) == (Do.PROVISION, BLUE)


class TestRest:
    def test_it_is_as_declared(self) -> None:
        decision = next_of(V1, state(V1), alias=BLUE)
        assert does(decision) == (Do.REST, BLUE)
        assert decision.plan.strategy is Strategy.NOTHING
        assert not decision.in_place

    def test_watching(self) -> None:
        decision = next_of(V1, state(V1, Stage.WATCHING), alias=BLUE)
        assert does(decision) == (Do.WATCH, BLUE)
        assert decision.plan.source is None

    def test_what_is_retained_rests_too(self) -> None:
        assert does(next_of(V2, state(V1, replaced=NOW), state(V2), alias=GREEN)) == (Do.REST, GREEN)


class TestBlueGreen:
    def test_another_revision_is_declared(self) -> None:
        decision = next_of(V2, state(V1), alias=BLUE)
        assert does(decision) == (Do.PROVISION, GREEN)
        assert (decision.plan.strategy, decision.plan.source) == (Strategy.BLUE_GREEN, BLUE)
        assert decision.plan.reasons == (Reason("schemaVersion", "v1", "v2"),)

    @pytest.mark.parametrize("stage", [*WORKING, Stage.PROMOTING])
    def test_it_is_under_way(self, stage: Stage) -> None:
        decision = next_of(V2, state(V1), state(V2, stage), alias=BLUE)
        assert does(decision) == (OF_STAGE[stage], GREEN)
        assert decision.plan.source == BLUE

    def test_the_alias_moved_and_then_it_crashed(self) -> None:
        assert does(next_of(V2, state(V1), state(V2, Stage.PROMOTING), alias=GREEN)) == (Do.FINISH_CUTOVER, GREEN)

    def test_blue_does_not_know_yet(self) -> None:
        both = state(V1), state(V2, Stage.WATCHING)
        assert does(next_of(V2, *both, alias=GREEN)) == (Do.STAMP_REPLACED, BLUE)

    @pytest.mark.parametrize("stage", WORKING)
    def test_an_edit_abandons_green(self, stage: Stage) -> None:
        assert does(next_of(V3, state(V1), state(V2, stage), alias=BLUE)) == (Do.DROP_ABANDONED, GREEN)

    def test_a_reverted_edit_abandons_green(self) -> None:
        assert does(next_of(V1, state(V1), state(V2, Stage.HELD), alias=BLUE)) == (Do.DROP_ABANDONED, GREEN)

    def test_green_is_abandoned_although_it_was_about_to_serve(self) -> None:
        assert does(next_of(V3, state(V1), state(V2, Stage.PROMOTING), alias=BLUE)) == (Do.DROP_ABANDONED, GREEN)

    def test_an_edit_right_after_the_cutover_first_finishes_it(self) -> None:
        """Else green, which serves, would later look like one that never did, and be dropped."""
        both = state(V1), state(V2, Stage.PROMOTING)
        assert does(next_of(V3, *both, alias=GREEN)) == (Do.FINISH_CUTOVER, GREEN)
        assert does(next_of(V1, *both, alias=GREEN)) == (Do.FINISH_CUTOVER, GREEN)

    def test_blue_learns_it_although_the_spec_asks_for_a_third_by_now(self) -> None:
        """Later the third would be noted as what has replaced it, and the two have never been in step."""
        both = state(V1), state(V2, Stage.WATCHING)
        assert does(next_of(V3, *both, alias=GREEN)) == (Do.STAMP_REPLACED, BLUE)

    def test_an_edit_while_watching_goes_on_from_there(self) -> None:
        decision = next_of(V3, state(V1, replaced=NOW), state(V2, Stage.WATCHING), alias=GREEN)
        assert does(decision) == (Do.PROVISION, THIRD)
        assert decision.plan.source == GREEN

    def test_in_place_only(self) -> None:
        wanted = desired(schema(dense(distance=Distance.COSINE)), strategy="InPlaceOnly")
        assert refused(wanted, state(V1), alias=BLUE).startswith("NewCollectionNeeded")
        assert "distance: Dot → Cosine" in refused(wanted, state(V1), alias=BLUE)

    def test_what_cannot_be_populated_is_refused_and_drops_nothing(self) -> None:
        wanted = desired(schema(dense(8)))
        assert refused(wanted, state(V1), state(V2, Stage.INDEXING), alias=BLUE).startswith("EmbedderRequired")


class TestRollingBack:
    def test_the_declared_revision_is_retained(self) -> None:
        decision = next_of(V1, state(V1, replaced=NOW), state(V2), alias=GREEN)
        assert does(decision) == (Do.ROLL_BACK, BLUE)
        assert (decision.plan.strategy, decision.plan.source, decision.plan.target) == (
            Strategy.ROLLBACK,
            GREEN,
            BLUE,
        )

    def test_it_is_under_way(self) -> None:
        both = state(V1, Stage.ROLLING_BACK, replaced=NOW), state(V2)
        assert does(next_of(V1, *both, alias=GREEN)) == (Do.ROLL_BACK, BLUE)

    def test_the_alias_is_back_and_then_it_crashed(self) -> None:
        both = state(V1, Stage.ROLLING_BACK, replaced=NOW), state(V2)
        assert does(next_of(V1, *both, alias=BLUE)) == (Do.FINISH_CUTOVER, BLUE)

    def test_then_green_is_the_retained_one(self) -> None:
        assert does(next_of(V1, state(V1), state(V2), alias=BLUE)) == (Do.STAMP_REPLACED, GREEN)

    def test_an_encoder_that_is_gone_does_not_keep_it(self) -> None:
        small, large = schema(dense(4)), schema(dense(8), version="v2")
        decision = next_of(small, state(small, replaced=NOW), state(large), alias=name_of(large))
        assert does(decision) == (Do.ROLL_BACK, name_of(small))
        assert decision.plan.population is Population.NONE

    def test_an_adopted_collection_is_found_by_its_revision(self) -> None:
        legacy = state(V1, name="legacy", replaced=NOW)
        decision = next_of(V1, legacy, state(V2), alias=GREEN)
        assert does(decision) == (Do.ROLL_BACK, "legacy")

    def test_in_place_only_allows_it(self) -> None:
        wanted = desired(V1, strategy="InPlaceOnly")
        assert does(next_of(wanted, state(V1, replaced=NOW), state(V2), alias=GREEN)) == (Do.ROLL_BACK, BLUE)

    def test_an_unfinished_green_is_no_way_back(self) -> None:
        wanted = state(V1, Stage.POPULATING)
        assert does(next_of(V1, wanted, state(V2), alias=GREEN)) == (Do.POPULATE, BLUE)

    def test_the_alias_was_put_on_a_retained_collection_by_hand(self) -> None:
        """The clock of its retention must not go on while it serves."""
        both = state(V1, replaced=NOW - DAY), state(V2)
        for declared in (V1, V2, V3):
            assert does(next_of(declared, *both, alias=BLUE)) == (Do.FINISH_CUTOVER, BLUE)


class TestRetention:
    KEEP = 2 * DAY

    def at(self, replaced: float) -> tuple[Do, str | None]:
        wanted = desired(V2, keep_for=self.KEEP)
        return does(next_of(wanted, state(V1, replaced=replaced), state(V2), alias=GREEN))

    def test_not_a_second_before_its_time(self) -> None:
        assert self.at(NOW - self.KEEP + 1) == (Do.REST, GREEN)

    def test_exactly_then(self) -> None:
        assert self.at(NOW - self.KEEP) == (Do.RETIRE, BLUE)

    def test_not_while_the_new_one_is_watched(self) -> None:
        both = state(V1, replaced=0.0), state(V2, Stage.WATCHING)
        assert does(next_of(V2, *both, alias=GREEN)) == (Do.WATCH, GREEN)

    def test_not_during_the_next_migration(self) -> None:
        assert does(next_of(V3, state(V1, replaced=0.0), state(V2), alias=GREEN)) == (Do.PROVISION, THIRD)

    def test_not_what_serves_nor_what_never_knew(self) -> None:
        others = state(V1, name="docs-other", replaced=0.0, identity=SOMEBODY), state(V2, replaced=0.0)
        assert does(next_of(V2, *others, alias=GREEN)) == (Do.FINISH_CUTOVER, GREEN)
        assert does(next_of(V2, others[0], state(V2), alias=GREEN)) == (Do.REST, GREEN)


class TestTheAliasIsWrong:
    def test_it_is_gone(self) -> None:
        assert does(next_of(V1, state(V1))) == (Do.RESTORE_ALIAS, BLUE)

    def test_it_is_gone_in_the_middle_of_a_migration(self) -> None:
        assert does(next_of(V2, state(V1), state(V2, Stage.INDEXING))) == (Do.RESTORE_ALIAS, BLUE)

    def test_what_was_not_replaced_comes_first(self) -> None:
        assert does(next_of(V1, state(V1, replaced=NOW), state(V2))) == (Do.RESTORE_ALIAS, GREEN)

    def test_rather_a_retained_one_than_none(self) -> None:
        found = state(V1, replaced=NOW), state(V2, Stage.POPULATING)
        assert does(next_of(V2, *found)) == (Do.RESTORE_ALIAS, BLUE)

    @pytest.mark.parametrize("declared", [V1, V2, V3])
    @pytest.mark.parametrize("stage", WORKING)
    def test_somebody_put_it_on_an_unfinished_green(self, stage: Stage, declared: Schema) -> None:
        """Whatever is declared: planned from there, blue would be emptied or a part be taken for the whole."""
        both = state(V1), state(V2, stage, source=BLUE)
        assert does(next_of(declared, *both, alias=GREEN)) == (Do.RESTORE_ALIAS, BLUE)

    def test_and_there_is_nothing_to_put_it_back_to(self) -> None:
        assert does(next_of(V1, state(V1, Stage.POPULATING), alias=BLUE)) == (Do.POPULATE, BLUE)

    def test_and_the_spec_changed_too(self) -> None:
        """It is what clients use: migrated from, never dropped."""
        decision = next_of(V2, state(V1, Stage.POPULATING), alias=BLUE)
        assert does(decision) == (Do.PROVISION, GREEN)
        assert decision.plan.source == BLUE

    def test_somebodys_collection_has_its_name(self) -> None:
        text = refused(V1, state(V1), names=(ALIAS,))
        assert text.startswith("AliasIsCollection")
        assert "spec.adopt.collection: docs" in text

    def test_it_is_somebodys(self) -> None:
        text = refused(V1, state(V1, name="docs-theirs", identity=SOMEBODY), alias="docs-theirs")
        assert text.startswith("AliasNotOwned")
        assert "belongs to the VectorCollection other/theirs (cluster cluster-1)" in text

    def test_it_is_on_a_collection_without_marks(self) -> None:
        text = refused(V1, state(V1, name="legacy", identity=None), alias="legacy")
        assert text.startswith("AliasNotOwned")
        assert "was not created by Teal" in text
        assert "spec.adopt.collection: legacy" in text


class TestAdopting:
    WANTED = desired(V1, adopt="legacy")
    LEGACY = state(V1, name="legacy", identity=None)

    def test_a_collection_that_clients_use_already(self) -> None:
        assert does(next_of(self.WANTED, self.LEGACY, alias="legacy")) == (Do.ADOPT, "legacy")

    def test_a_collection_without_an_alias(self) -> None:
        assert does(next_of(self.WANTED, self.LEGACY)) == (Do.ADOPT, "legacy")

    def test_it_is_done(self) -> None:
        assert does(next_of(self.WANTED, state(V1, name="legacy"), alias="legacy")) == (
            Do.SET_ALIASES,
            "legacy",
        )
        assert does(next_of(desired(V2, adopt="legacy"), state(V1, name="legacy"), alias="legacy")) == (
            Do.PROVISION,
            GREEN,
        )

    def test_long_ago(self) -> None:
        """The field stays in the spec; the collection was migrated away from and is gone."""
        wanted = desired(V2, adopt="legacy")
        assert does(next_of(wanted, state(V2), alias=GREEN)) == (Do.REST, GREEN)
        assert does(next_of(wanted, state(V2))) == (Do.RESTORE_ALIAS, GREEN)

    def test_there_is_none(self) -> None:
        assert refused(self.WANTED).startswith("AdoptNotFound")

    def test_it_is_somebodys(self) -> None:
        theirs = state(V1, name="legacy", identity=SOMEBODY)
        assert refused(self.WANTED, theirs).startswith("CollectionNotOwned")
        assert refused(self.WANTED, theirs, alias="legacy").startswith("CollectionNotOwned")

    def test_instead_of_what_has_served(self) -> None:
        """Somebody moved the alias there and says so in the spec: ours is replaced, not written into theirs."""
        assert does(next_of(self.WANTED, state(V1), self.LEGACY, alias="legacy")) == (Do.ADOPT, "legacy")

    def test_only_what_is_named(self) -> None:
        other = state(V1, name="other", identity=None)
        assert refused(self.WANTED, other, self.LEGACY, alias="other").startswith("AliasNotOwned")

    def test_a_green_begun_before_is_abandoned(self) -> None:
        found = state(V1, Stage.POPULATING), state(V1, name="legacy")
        aliased = observed(*found, alias="legacy", **{"docs-v1": "legacy"})
        assert does(decide(self.WANTED, aliased, NOW)) == (Do.DROP_ABANDONED, BLUE)


class TestOwnership:
    def test_the_uid_decides_and_so_does_the_name_in_the_cluster(self) -> None:
        assert ours(state(), ME)
        assert ours(state(identity=OLD_ME), ME)
        assert ours(state(identity=replace(SOMEBODY, uid=ME.uid, alias=ME.alias)), ME)
        for field in ("cluster", "namespace", "name", "alias"):
            assert not ours(state(identity=replace(OLD_ME, **{field: "other"})), ME)
        assert not ours(state(identity=None), ME)
        assert not ours(None, ME)

    def test_a_new_uid_claims_what_the_old_one_left(self) -> None:
        assert does(next_of(V1, state(V1, identity=OLD_ME), alias=BLUE)) == (Do.CLAIM, BLUE)

    def test_all_of_it_before_anything_else(self) -> None:
        found = state(V1, replaced=0.0, identity=OLD_ME), state(V2)
        assert does(next_of(V3, *found, alias=GREEN)) == (Do.CLAIM, BLUE)

    @pytest.mark.parametrize("identity", [SOMEBODY, None])
    @pytest.mark.parametrize("serving", [True, False])
    def test_greens_name_is_taken(self, identity: Any, serving: bool) -> None:
        taken = state(V2, identity=identity)
        ours_too = (state(V1),) if serving else ()
        text = refused(V2, taken, *ours_too, alias=BLUE if serving else None)
        assert text.startswith("CollectionNotOwned")
        assert ("spec.adopt" in text) == (identity is None and not serving), "advice that could not work is none"

    def test_and_adopting_it_now_would_lead_nowhere(self) -> None:
        taken = state(V2, identity=None)
        wanted = desired(V2, adopt=GREEN)
        assert refused(wanted, taken, state(V1), alias=BLUE).startswith("CollectionNotOwned")

    def test_greens_name_does_not_matter_before_it_is_needed(self) -> None:
        wanted = desired(V1)
        legacy, taken = state(V1, name="legacy"), state(V1, identity=SOMEBODY)
        found = observed(legacy, taken, alias="legacy", **{"docs-v1": "legacy"})
        assert does(decide(wanted, found, NOW)) == (Do.REST, "legacy")

    def test_a_neighbour_with_our_prefix_is_left_alone(self) -> None:
        neighbour = state(V2, Stage.HELD, name="docs-v2-theirs", identity=SOMEBODY)
        assert does(next_of(V1, state(V1), neighbour, alias=BLUE)) == (Do.REST, BLUE)


class TestDamage:
    def damaged(self, wanted: Schema, **more: Any) -> CollectionState:
        whole = state(wanted, **more)
        return replace(whole, marks=replace(whole.marks, migration=None, damaged="teal.dev/migration is missing"))

    def test_nothing_is_decided_about_it(self) -> None:
        text = refused(V1, self.damaged(V1), alias=BLUE)
        assert text.startswith("MarksDamaged")
        assert BLUE in text
        assert "teal.dev/migration is missing" in text

    @pytest.mark.parametrize("alias", [BLUE, None])
    @pytest.mark.parametrize("declared", [V1, V2, V3])
    def test_nor_about_anything_beside_it(self, declared: Schema, alias: str | None) -> None:
        assert refused(declared, state(V1), self.damaged(V2), alias=alias).startswith("MarksDamaged")

    @pytest.mark.parametrize("where", ["serving", "target", "adopted"])
    def test_even_if_it_has_forgotten_whose_it_is(self, where: str) -> None:
        name = {"serving": "docs-x", "target": BLUE, "adopted": "legacy"}[where]
        lost = replace(state(V1, name=name, identity=None), marks=Marks(damaged="teal.dev/owner.uid: missing"))
        wanted = desired(V1, adopt="legacy" if where == "adopted" else None)
        assert refused(wanted, lost, alias=name if where == "serving" else None).startswith("MarksDamaged")

    def test_somebody_elses_damage_is_not_ours(self) -> None:
        theirs = self.damaged(V2, name="docs-v2-theirs", identity=SOMEBODY)
        lost = replace(state(V3, identity=None), marks=Marks(damaged="unreadable"))
        assert does(next_of(V1, state(V1), theirs, lost, alias=BLUE)) == (Do.REST, BLUE)

    def test_a_fence_is_lifted_all_the_same(self) -> None:
        fenced = replace(state(V1, fenced=True))
        assert does(next_of(V1, fenced, self.damaged(V2), alias=BLUE)) == (Do.LIFT_FENCE, BLUE)

    def test_without_its_mark_nothing_has_served(self) -> None:
        assert stage_of(self.damaged(V1)) is Stage.HELD
        assert not has_served(self.damaged(V1))


class TestCrashes:
    @pytest.mark.parametrize("alias", [BLUE, GREEN, None])
    def test_a_fence_was_left_behind(self, alias: str | None) -> None:
        found = state(V1, fenced=True), state(V2, Stage.PROMOTING)
        assert does(next_of(V2, *found, alias=alias)) == (Do.LIFT_FENCE, BLUE)

    def test_even_when_nothing_else_may_be_done(self) -> None:
        found = state(V1, fenced=True), state(V2, name="docs-theirs", identity=SOMEBODY)
        assert does(next_of(V1, *found, alias="docs-theirs")) == (Do.LIFT_FENCE, BLUE)

    def test_somebody_elses_fence_is_left_alone(self) -> None:
        theirs = state(V2, name="docs-theirs", identity=SOMEBODY, fenced=True)
        assert does(next_of(V1, state(V1), theirs, alias=BLUE)) == (Do.REST, BLUE)

    def test_blue_was_deleted_while_green_was_filled(self) -> None:
        text = refused(V2, state(V2, Stage.INDEXING, source=BLUE, points=7))
        assert text.startswith("SourceGone")
        assert "its 7 points" in text.lower()

    def test_also_if_the_spec_changed_since(self) -> None:
        assert refused(V3, state(V2, Stage.HELD, source=BLUE)).startswith("SourceGone")

    def test_an_empty_green_is_no_copy(self) -> None:
        assert does(next_of(V2, state(V2, Stage.POPULATING, source=BLUE, points=0))) == (Do.POPULATE, GREEN)


class TestInPlace:
    TUNED = desired(V1, tuning=Tuning({"hnsw_config": {"m": 32}}, {"tenant": {"type": "keyword"}}))

    def test_a_change_that_qdrant_can_make(self) -> None:
        decision = next_of(self.TUNED, state(V1), alias=BLUE)
        assert does(decision) == (Do.APPLY_IN_PLACE, BLUE)
        assert decision.in_place.patch == {"hnsw_config": {"m": 32}}
        assert set(decision.in_place.create_indexes) == {"tenant"}
        assert (decision.plan.strategy, decision.plan.source) == (Strategy.IN_PLACE, None)
        assert [str(reason) for reason in decision.plan.reasons] == [
            "hnsw_config.m: 16 → 32",
            "payload_index.tenant: None → {'type': 'keyword'}",
        ]

    def test_not_while_it_is_watched(self) -> None:
        assert does(next_of(self.TUNED, state(V1, Stage.WATCHING), alias=BLUE)) == (Do.WATCH, BLUE)

    def test_not_on_what_is_retained(self) -> None:
        wanted = replace(self.TUNED, schema=V2)
        decision = next_of(wanted, state(V1, replaced=NOW), state(V2), alias=GREEN)
        assert does(decision) == (Do.APPLY_IN_PLACE, GREEN)

    def test_clients_learn_of_another_url(self) -> None:
        encoder = Encoder("m", "v1", 4, "http://new")
        old = Encoder("m", "v1", 4, "http://old")
        serving = state(V1)
        told = replace(serving, marks=replace(serving.marks, encoder=old))
        decision = next_of(desired(V1, encoder=encoder), told, alias=BLUE)
        assert does(decision) == (Do.APPLY_IN_PLACE, BLUE)
        assert decision.in_place.changes == (Change("encoder", old.as_json(), encoder.as_json()),)
        assert not decision.in_place.patch
        known = replace(serving, marks=replace(serving.marks, encoder=encoder))
        assert does(next_of(desired(V1, encoder=encoder), known, alias=BLUE)) == (Do.REST, BLUE)

    def test_an_encoder_that_has_left_the_spec_stays_told(self) -> None:
        """It still made the vectors. With nothing to write in its place, a change of it would never be over."""
        serving = state(V1)
        told = replace(serving, marks=replace(serving.marks, encoder=Encoder("m", "v1", 4)))
        assert does(next_of(desired(V1), told, alias=BLUE)) == (Do.REST, BLUE)


RETAINED_AND_SERVING = {BLUE: state(V1, replaced=NOW), GREEN: state(V2)}


class TestLesserAliases:
    def misplaced(self, names: tuple[str, ...] = (), **aliases: str) -> dict[str, str | None]:
        found = observed(*RETAINED_AND_SERVING.values(), names=names, alias=GREEN, **aliases)
        return misplaced_aliases(View(desired(V2), found, NOW))

    def test_in_place(self) -> None:
        assert self.misplaced(**{"docs-v2": GREEN, "docs-v1": BLUE}) == {}

    def test_missing_or_behind(self) -> None:
        assert self.misplaced() == {"docs-v2": GREEN}
        assert self.misplaced(**{"docs-v2": BLUE}) == {"docs-v2": GREEN}

    def test_the_preview_is_over(self) -> None:
        assert self.misplaced(**{"docs-v2": GREEN, "docs-next": GREEN}) == {"docs-next": None}
        assert self.misplaced(**{"docs-v2": GREEN, "docs-next": "somebodys"}) == {}

    def test_names_that_somebody_uses_are_left_alone(self) -> None:
        assert self.misplaced(**{"docs-v2": "somebodys"}) == {}
        assert self.misplaced(names=("docs-v2",)) == {}

    def test_they_are_set_before_watching(self) -> None:
        found = observed(state(V1, Stage.WATCHING), alias=BLUE)
        assert does(decide(desired(V1), found, NOW)) == (Do.SET_ALIASES, BLUE)


def test_the_alias_points_at_a_collection_that_was_not_there_a_moment_ago() -> None:
    """It may be ours: nothing is concluded from two lists that were not made at once."""
    torn = Observed(observed().version, frozenset(), {ALIAS: BLUE})
    with pytest.raises(TransientError, match="looking again"):
        decide(desired(V1), torn, NOW)
