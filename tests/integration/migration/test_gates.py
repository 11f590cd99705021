"""What the cut-over waits for: windows by a clock, and the hooks of a team that can pause its writers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.integration.migration.servers import HookServer
from tests.integration.migration.support import EngineHarness

EUCLID = {"distance": "Euclid"}


def opening_in(engine: EngineHarness, minutes: int) -> str:
    """A cron schedule that opens at the full minute so many minutes from now, once a day."""
    at = datetime.fromtimestamp(engine.clock.now() + 60 * minutes, UTC)
    return f"{at.minute} {at.hour} * * *"


async def test_the_cutover_waits_for_a_window(engine: EngineHarness) -> None:
    blue = await engine.declare()
    windows = [{"schedule": opening_in(engine, 120), "duration": "10m"}]
    engine.edit(migration={"promotion": {"windows": windows}}, **EUCLID)
    await engine.until_phase("AwaitingPromotion")
    ready = engine.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "AwaitingPromotion")
    await engine.until(lambda: "the next one opens at" in engine.condition("Ready")["message"])
    ready = engine.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "AwaitingPromotion")
    opens = datetime.fromtimestamp(engine.clock.now() + 7200, UTC).strftime("%Y-%m-%dT%H:%M:00Z")
    assert f"the next one opens at {opens}" in ready["message"]
    await engine.rest()
    assert engine.serving() == blue
    engine.clock.advance(7200.0)
    await engine.until_ready()
    assert engine.serving() != blue


async def test_a_first_revision_and_a_rollback_wait_for_no_window(engine: EngineHarness) -> None:
    engine.edit(migration={"promotion": {"windows": [{"schedule": opening_in(engine, 120), "duration": "5m"}]}})
    blue = await engine.declare()
    engine.edit(**EUCLID)
    await engine.until_phase("AwaitingPromotion")
    engine.clock.advance(7200.0)
    await engine.until_ready()
    engine.clock.advance(600.0)
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("window", "field"),
    [
        ({"schedule": "61 2 * * 6", "duration": "1h"}, "spec.migration.promotion.windows[0].schedule"),
        (
            {"schedule": "0 2 * * 6", "duration": "1h", "timeZone": "Europe/Nowhere"},
            "spec.migration.promotion.windows[0].timeZone",
        ),
    ],
)
async def test_a_window_that_there_is_not_stalls(
    engine: EngineHarness, window: dict[str, str], field: str
) -> None:
    engine.edit(migration={"promotion": {"windows": [window]}})
    await engine.step()
    stalled = engine.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidWindow")
    assert stalled["message"].startswith(field)


async def test_both_hooks_are_told(engine: EngineHarness) -> None:
    await engine.declare()
    async with HookServer.start() as hooks:
        engine.edit(migration={"hooks": {
            "beforeSwitch": {"url": f"{hooks.url}/before"}, "afterSwitch": {"url": f"{hooks.url}/after"},
        }}, **EUCLID)  # fmt: skip
        await engine.until_ready()
        assert hooks.paths() == ["before", "after"]
        assert engine.reasons().count("GateOpened") == 1
        before, after = hooks.calls
        assert before.body["target"] == engine.serving()
        assert before.body["planHash"] == engine.migration["planHash"]
        assert before.body["migration"] == engine.migration["id"]
        assert before.body["resource"] == {"namespace": "search", "name": "docs", "uid": engine.resource.uid}
        assert (before.body["phase"], after.body["phase"]) == ("AwaitingPromotion", "Watching")
        assert before.key == f"{engine.migration['id']}/beforeSwitch"
        await engine.restart()
        await engine.rest()
        assert hooks.paths() == ["before", "after"]


async def test_a_closed_gate_is_asked_again_after_a_pause(engine: EngineHarness) -> None:
    blue = await engine.declare()
    async with HookServer.start() as hooks:
        hooks.answers["before"] = [503, 503, 200]
        engine.edit(migration={"hooks": {"beforeSwitch": {"url": f"{hooks.url}/before", "retries": 0}}}, **EUCLID)
        await engine.until(lambda: "GateClosed" in engine.reasons())
        assert engine.condition("Ready")["reason"] == "AwaitingPromotion"
        assert "answered 503" in engine.condition("Ready")["message"]
        await engine.rest()
        await engine.restart()
        await engine.rest()
        assert len(hooks.calls) == 1
        engine.clock.advance(61.0)
        await engine.until(lambda: len(hooks.calls) == 2)
        engine.clock.advance(61.0)
        await engine.rest()
        assert len(hooks.calls) == 2
        assert engine.serving() == blue
        engine.clock.advance(300.0)
        await engine.until_ready()
        assert len(hooks.calls) == 3
        assert {call.key for call in hooks.calls} == {f"{engine.migration['id']}/beforeSwitch"}
        assert engine.reasons().count("GateClosed") == 1


async def test_a_gate_is_asked_as_often_as_its_retries_say(engine: EngineHarness) -> None:
    await engine.declare()
    async with HookServer.start() as hooks:
        hooks.answers["before"] = [500, 302, 200]
        engine.edit(migration={"hooks": {"beforeSwitch": {"url": f"{hooks.url}/before", "retries": 2}}}, **EUCLID)
        await engine.until_ready()
        assert len(hooks.calls) == 3
        assert "GateClosed" not in engine.reasons()


async def test_an_edit_does_not_wait_for_a_gate_that_hangs(engine: EngineHarness) -> None:
    blue = await engine.declare()
    async with HookServer.start() as hooks:
        hooks.answers["before"] = ["hang"]
        engine.edit(migration={"hooks": {"beforeSwitch": {"url": f"{hooks.url}/before"}}}, **EUCLID)
        await engine.until(lambda: bool(hooks.calls))
        await engine.step()
        assert "Waiting for the answer" in engine.condition("Ready")["message"]
        engine.edit(distance="Cosine")
        await engine.until_ready()
        assert engine.serving() == blue


async def test_a_gate_that_hangs_is_closed_after_its_timeout(engine: EngineHarness) -> None:
    await engine.declare()
    async with HookServer.start() as hooks:
        hooks.answers["before"] = ["hang"]
        engine.edit(
            migration={"hooks": {"beforeSwitch": {"url": f"{hooks.url}/before", "timeout": "1s", "retries": 0}}},
            **EUCLID,
        )
        await engine.until(lambda: "GateClosed" in engine.reasons())
        assert "did not answer within 1 s" in engine.told("GateClosed")


async def test_a_failing_notice_changes_nothing(engine: EngineHarness) -> None:
    blue = await engine.declare()
    async with HookServer.start() as hooks:
        hooks.answers["after"] = [500, 500]
        engine.edit(migration={"hooks": {"afterSwitch": {"url": f"{hooks.url}/after", "retries": 1}}}, **EUCLID)
        await engine.until_ready()
        assert len(hooks.calls) == 2
        assert "answered 500" in engine.told("HookFailed")
        assert engine.serving() != blue
