"""The table is the state machine: what is not in it does not happen, and nothing in it is a dead end."""

from __future__ import annotations

from itertools import product

import pytest

from teal.domain.transitions import HAS_SERVED, TABLE, Event, ImpossibleTransitionError, Stage, advance, diagram

ENDS = {Stage.READY, Stage.HELD}


def reachable(start: Stage) -> set[Stage]:
    """All stages that some sequence of events leads to, `start` included."""
    found, todo = {start}, [start]
    while todo:
        stage = todo.pop()
        new = {target for (source, _), target in TABLE.items() if source is stage} - found
        found |= new
        todo += new
    return found


@pytest.mark.parametrize(("stage", "event"), list(product(Stage, Event)), ids=str)
def test_an_event_leads_where_the_table_says_or_is_a_bug(stage: Stage, event: Event) -> None:
    if (stage, event) in TABLE:
        assert advance(stage, event) is TABLE[stage, event]
    else:
        with pytest.raises(ImpossibleTransitionError, match=f"{event.value!r} cannot happen in {stage.value}"):
            advance(stage, event)


def test_every_stage_and_every_event_is_used() -> None:
    assert reachable(Stage.PROVISIONING) == set(Stage)
    assert {event for _, event in TABLE} == set(Event)


@pytest.mark.parametrize("stage", Stage)
def test_from_every_stage_a_migration_can_end(stage: Stage) -> None:
    assert reachable(stage) & ENDS
    assert Stage.READY in reachable(stage)


def test_the_way_of_a_migration_that_nothing_disturbs() -> None:
    stage = Stage.PROVISIONING
    for event in (
        Event.PROVISIONED, Event.POPULATED, Event.CAUGHT_UP, Event.INDEXED, Event.VERIFIED, Event.APPROVED,
        Event.CUT_OVER, Event.WATCHED,
    ):  # fmt: skip
        stage = advance(stage, event)
    assert stage is Stage.READY


@pytest.mark.parametrize("stage", sorted(set(Stage) - HAS_SERVED - {Stage.HELD}), ids=str)
def test_whatever_fails_before_the_cutover_is_held(stage: Stage) -> None:
    assert advance(stage, Event.FAILED) is Stage.HELD


@pytest.mark.parametrize("stage", sorted(HAS_SERVED), ids=str)
def test_what_has_served_cannot_fail_any_more(stage: Stage) -> None:
    assert (stage, Event.FAILED) not in TABLE


@pytest.mark.parametrize("event", [Event.RETRIED, Event.EDITED])
def test_what_was_held_begins_again_with_its_points(event: Event) -> None:
    """Whatever was wrong may be in any of them."""
    assert advance(Stage.HELD, event) is Stage.POPULATING


@pytest.mark.parametrize("stage", [Stage.INDEXING, Stage.VERIFYING, Stage.AWAITING_PROMOTION, Stage.PROMOTING])
def test_what_was_tuned_anew_is_indexed_and_verified_anew(stage: Stage) -> None:
    assert advance(stage, Event.EDITED) is Stage.INDEXING


def test_only_the_cutover_makes_a_collection_one_that_has_served() -> None:
    into = {
        event for (source, event), target in TABLE.items() if source not in HAS_SERVED and target in HAS_SERVED
    }
    assert into == {Event.CUT_OVER}
    out = {(source, target) for (source, _), target in TABLE.items() if source in HAS_SERVED}
    assert {target for _, target in out} <= HAS_SERVED


def test_the_diagram_shows_every_row_and_nothing_else() -> None:
    first, begin, *rows = diagram().splitlines()
    assert first == "stateDiagram-v2"
    assert begin.strip() == "[*] --> Provisioning"
    assert sorted(row.strip() for row in rows) == sorted(
        f"{source.value} --> {target.value}: {event.value}" for (source, event), target in TABLE.items()
    )
