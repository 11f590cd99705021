"""`changeField.trusted`: the last passes look only at what the field shows as changed, and status says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from teal.qdrant import wire
from tests.unit.migration.application import stored
from tests.unit.migration.fake_qdrant import Stored
from tests.unit.migration.world import POINTS, World

Made = Callable[..., World]
QUIETLY = 3


def awaiting(made: Made, *, trusted: bool, before: Callable[[World], None] = lambda _: None) -> World:
    """Verified, and two passes later: from now on a pass may go by the field."""
    promotion = {"mode": "Manual", "quietWait": "1s"}
    field = {"name": "n", "trusted": trusted}
    world = made(spec={"migration": {"changeField": field, "promotion": promotion}})
    world.check = lambda: None  # type: ignore[method-assign]
    world._assert_complete = lambda *_, **__: None  # type: ignore[method-assign]
    before(world)
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    for _ in range(2):
        world.wait(11.0)
        world.reconcile()
    return world


def write(world: World, number: int, changed: dict[str, Any]) -> None:
    """A write that nobody is told of, and that raises no field."""
    name, point = str(world.serving), wire.raw_id(number)
    told = {**world.application.told[point], **changed}
    world.application.told[point] = told
    world.server.write(name, {point: stored(told, world.state(name))})


def promote(world: World) -> dict[int, str | None]:
    """The texts that served right after the alias had moved."""
    blue, real, texts = world.serving, world.after_call, dict[int, str | None]()

    def look(kind: str) -> None:
        real(kind)
        if world.serving != blue and not texts:
            texts.update({number: text_of(world, number) for number in range(1, POINTS + 1)})

    world.after_call = look  # type: ignore[method-assign]
    world.annotate("promote")
    for _ in range(40):
        if texts:
            return texts
        world.reconcile_in_time()
    raise AssertionError(f"no cut-over:\n{world.describe()}")


def text_of(world: World, number: int) -> str | None:
    point = world.server.points(str(world.serving)).get(wire.raw_id(number))
    return None if point is None else str(wire.payload_value(point.payload, "text"))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_write_that_does_not_raise_it_is_found_before_the_cut_over_unless_it_is_trusted(
    made: Made, trusted: bool
) -> None:
    world = awaiting(made, trusted=trusted)
    write(world, QUIETLY, {"text": "quietly"})
    world.application.write("change", 5)
    texts = promote(world)
    assert (texts[QUIETLY] == "quietly") is not trusted
    assert texts[5] == world.application.told[wire.raw_id(5)]["text"]


@pytest.mark.parametrize("trusted", [True, False])
def test_status_says_what_the_guarantee_and_the_proof_rest_on(made: Made, trusted: bool) -> None:
    world = awaiting(made, trusted=trusted)
    promote(world)
    world.reconcile_in_time()
    writes = world.migration["writes"]
    assert ("because it is trusted" in writes["guarantee"]) is trusted
    assert ("if every write raises n" in writes["proof"]) is trusted
    assert writes["cutOver"].get("trustedField") == ("n" if trusted else None)
    assert writes["cutOver"]["proved"]


def test_what_is_missed_is_found_when_both_are_compared_afterwards(made: Made) -> None:
    world = awaiting(made, trusted=True)
    write(world, QUIETLY, {"text": "quietly"})
    promote(world)
    world.until_ready()
    for _ in range(3):
        world.wait(120.0)
        world.reconcile()
    assert text_of(world, QUIETLY) == "quietly"


def test_a_deletion_raises_no_field_and_is_found_all_the_same(made: Made) -> None:
    world = awaiting(made, trusted=True)
    world.application.write("delete", 7)
    assert promote(world)[7] is None


def test_under_the_fence_a_deletion_and_a_change_are_found(made: Made) -> None:
    """After the last look, and before writers are held back."""
    world = awaiting(made, trusted=True)
    real, blue, done = world.after_call, str(world.serving), list[str]()

    def write_right_before(kind: str) -> None:
        real(kind)
        if kind == "mark" and world.state(blue).marks.fence and not done:
            done.append(kind)
            world.application.write("delete", 7)
            world.application.write("upsert", 5)

    world.after_call = write_right_before  # type: ignore[method-assign]
    texts = promote(world)
    world.reconcile_in_time()
    assert texts[7] is None
    assert texts[5] == world.application.told[wire.raw_id(5)]["text"]
    assert world.migration["writes"]["cutOver"]["proved"]
    assert world.migration["writes"]["cutOver"]["lateWrites"] == 0


def test_a_point_without_a_value_takes_the_trust_away(made: Made) -> None:
    world = awaiting(made, trusted=True, before=lose_the_field)
    told = next(note.message for note in world.notes if note.reason == "MigrationWarning")
    assert "1 points have no number or date in 'n' (such as 8)" in told
    assert "the field is not trusted" in told
    write(world, QUIETLY, {"text": "quietly"})
    assert promote(world)[QUIETLY] == "quietly"
    world.reconcile_in_time()
    assert "trustedField" not in world.migration["writes"]["cutOver"]


def lose_the_field(world: World) -> None:
    name, point = str(world.serving), wire.raw_id(8)
    before = world.server.points(name)[point]
    alone = tuple(each for each in before.payload if wire.payload_value([each], "n") is None)
    world.server.write(name, {point: Stored(alone, before.vectors)})
