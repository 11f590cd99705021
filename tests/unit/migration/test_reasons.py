"""Each reason without a test elsewhere is brought about once; when its cause is gone, the migration goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from teal.domain.errors import TransientError
from teal.domain.marks import Owner
from teal.domain.policy import decide
from tests.unit.domain.builders import NOW, desired, observed
from tests.unit.migration.world import ALIAS, Trouble, World

MANUAL = {"promotion": {"mode": "Manual"}}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def until_told(world: World, reason: str, slices: int = 60, **given: Any) -> str:
    """Go on until an Event has this reason; its message."""
    for _ in range(slices):
        told = [note.message for note in world.notes if note.reason == reason]
        if told:
            return told[-1]
        world.reconcile_in_time(**given)
    raise AssertionError(f"nothing was told of {reason}:\n{world.describe()}")


def reason_of(world: World, kind: str) -> str:
    return next((each["reason"] for each in world.status["conditions"] if each["type"] == kind), "")


def test_a_collection_that_the_alias_names_and_nobody_has_seen_is_looked_for_again() -> None:
    with pytest.raises(TransientError) as caught:
        decide(desired(), observed(alias="docs-v1-just-made"), NOW)
    assert caught.value.reason == "CollectionChanging"


def test_a_fence_that_lasts_too_long_is_lifted(world: World) -> None:
    """Nothing else is slow but the calls under the fence: it ends by itself, and writers go on."""
    blue = world.serving
    world.edit(schemaVersion="v2", migration={"promotion": {"quietWait": "0s", "maxFence": "1s"}})
    assert world.until("Promoting", busy=1)
    raised = world.after_call

    def slow_when_fenced(kind: str) -> None:
        raised(kind)
        fenced = blue is not None and world.state(blue).marks.fence is not None
        world.latency = 0.2 if fenced else 0.001

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "after_call", slow_when_fenced)
        assert "1 s" in until_told(world, "FenceExpired", busy=1)
    assert world.serving == blue
    assert blue
    assert world.state(blue).marks.fence is None
    world.latency = 0.001
    world.until_ready()
    world.come_to_rest()


def test_the_next_process_lifts_the_fence_of_one_that_died(world: World) -> None:
    blue = world.serving
    assert blue
    world.edit(schemaVersion="v2", migration={"promotion": {"quietWait": "0s"}})
    assert world.until("Promoting", busy=1)
    while world.state(blue).marks.fence is None:
        world.reconcile_in_time(troubles=[Trouble("patch", "crash after")], busy=1)
    world.reconcile()
    assert "FenceLifted" in [note.reason for note in world.notes]
    assert world.state(blue).marks.fence is None
    world.come_to_rest()


def test_a_peer_that_does_not_show_the_alias_is_waited_for(world: World) -> None:
    world.edit(schemaVersion="v2")
    assert world.until("Promoting")
    world.server.lagging = True
    assert "http://qdrant-1:6333" in until_told(world, "AliasNotOnAllPeers")
    assert reason_of(world, "Ready") == "AliasNotOnAllPeers"
    world.server.lagging = False
    world.come_to_rest()


def cut_over_and_die(world: World) -> None:
    """The operator dies right after it has moved the alias, and then a write reaches the old side."""
    assert world.until("Promoting")
    assert world.application.begin("upsert", 50)
    before = world.serving
    while world.serving == before:
        world.reconcile_in_time(troubles=[Trouble("point_alias", "crash after")])
    world.application.land(0)
    assert world.application.late


def test_an_alias_deleted_after_an_unfinished_cutover_goes_to_the_side_that_it_had_moved_to(world: World) -> None:
    """Given back to the other side, what was written since would be hidden."""
    world.encode_by(schemaVersion="v2")
    cut_over_and_die(world)
    new = world.serving
    del world.server.aliases[ALIAS]
    world.alias_deleted = True
    until_told(world, "AliasRestored")
    assert world.serving == new
    world.come_to_rest()


def test_an_alias_request_without_an_answer_is_repeated_under_the_fence(world: World) -> None:
    blue = world.serving
    assert blue
    world.edit(schemaVersion="v2")
    assert world.until("Promoting")
    while world.serving == blue:
        world.reconcile_in_time(troubles=[Trouble("point_alias", "no answer")])
    assert "CutoverCompleted" in [note.reason for note in world.notes]
    assert world.state(blue).marks.fence is None
    world.come_to_rest()


def test_a_late_write_is_carried_over_after_a_crash(world: World) -> None:
    world.encode_by(schemaVersion="v2")
    cut_over_and_die(world)
    until_told(world, "LateWritesCarried")
    assert world.serving
    assert not world.application.wrong(world.serving)
    world.come_to_rest()


def test_a_late_write_without_an_encoder_is_left_and_told() -> None:
    world = World(embeds=True)
    world.encode_by(schemaVersion="v2", model="large", dimensions=6)
    cut_over_and_die(world)
    assert world.embedding_set
    for field in ("embedder", "source"):
        del world.embedding_set["spec"][field]
    until_told(world, "LateWritesLeft")
    assert world.serving
    assert len(world.application.wrong(world.serving)) == 1
    world.close()


@pytest.mark.parametrize("meddled", [False, True], ids=["an hour passed", "somebody wrote to green"])
def test_an_old_verdict_is_given_again_before_the_cut_over(world: World, meddled: bool) -> None:
    blue = world.serving
    world.edit(schemaVersion="v2", migration=MANUAL)
    assert world.until("AwaitingPromotion")
    if meddled:
        green = world.migration["target"]
        point = next(iter(world.server.points(green)))
        world.server.write(green, {point: world.server.points(green)[point]})
    else:
        world.wait(3601.0)
    world.annotate("promote")
    until_told(world, "VerdictAged")
    assert world.serving == blue
    world.until_ready()
    told = [note.reason for note in world.notes]
    after = told[told.index("VerdictAged") + 1 :]
    assert after.index("VerificationPassed") < after.index("CutoverCompleted")


def test_an_approval_that_is_taken_back_in_time_stops_the_cut_over(world: World) -> None:
    blue = world.serving
    world.edit(schemaVersion="v2", migration={"promotion": {"mode": "Manual", "quietWait": "1h"}})
    assert world.until("AwaitingPromotion")
    world.annotate("promote")
    assert world.until("Promoting", busy=1)
    del world.annotations["teal.dev/promote"]
    until_told(world, "PromotionWithdrawn", busy=1)
    assert (world.phase, world.serving) == ("AwaitingPromotion", blue)
    world.come_to_rest()


def test_an_edit_of_the_settings_keeps_the_points_and_voids_the_approval(world: World) -> None:
    blue = world.serving
    world.edit(schemaVersion="v2", migration=MANUAL)
    assert world.until("AwaitingPromotion")
    world.annotate("promote")
    old, green = world.migration["planHash"], world.migration["target"]
    world.edit(hnsw={"m": 32})
    until_told(world, "PlanChanged")
    assert world.until("AwaitingPromotion")
    assert (world.migration["target"], world.serving) == (green, blue)
    assert world.migration["planHash"] != old
    assert [note.reason for note in world.notes].count("Populated") == 1
    world.come_to_rest()


def test_a_change_that_qdrant_accepts_and_ignores_stalls(world: World) -> None:
    world.server.ignored.add("patch")
    world.edit(hnsw={"m": 32})
    assert "hnsw_config.m" in until_told(world, "NotApplied")
    assert reason_of(world, "Stalled") == "NotApplied"
    world.server.ignored.clear()
    world.come_to_rest()


def test_an_optimizer_that_fails_holds_the_migration(world: World) -> None:
    blue = world.serving
    world.edit(schemaVersion="v2")
    assert world.until("Indexing")
    world.server.broken.add(world.migration["target"])
    assert "no space left on device" in until_told(world, "IndexingFailed")
    assert (world.phase, world.serving) == ("Held", blue)
    assert reason_of(world, "Stalled") == "IndexingFailed"
    world.server.broken.clear()
    world.come_to_rest()


def test_without_figures_of_blue_there_is_no_cut_over(world: World) -> None:
    blue = world.serving
    world.edit(schemaVersion="v2", watch={"duration": "30s"}, migration=MANUAL)
    assert world.until("AwaitingPromotion")
    world.server.unsearchable.add(ALIAS)
    world.annotate("promote")
    until_told(world, "NoBaseline")
    assert world.serving == blue
    world.server.unsearchable.clear()
    world.come_to_rest()


def test_who_does_not_lead_changes_nothing(world: World) -> None:
    world.edit(schemaVersion="v2")
    before = (list(world.server.names), dict(world.server.aliases))
    world.leads = False
    until_told(world, "NotLeader")
    assert reason_of(world, "Ready") == "NotLeader"
    assert (list(world.server.names), dict(world.server.aliases)) == before
    world.come_to_rest()


def test_an_adopted_collection_stays_when_its_resource_is_deleted(world: World) -> None:
    blue = world.serving
    assert blue
    owner = world.state(blue).marks.owner
    assert owner
    world.server.patch(blue, {"metadata": {Owner.KEY: replace(owner, adopted=True).as_json()}})
    world.delete("Delete")
    outcome = world.reconcile()
    assert outcome
    assert [note.reason for note in outcome.notes] == ["CollectionReleased"]
    assert (world.serving, world.state(blue).marks.owner) == (blue, None)
