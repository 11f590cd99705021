"""Verifying within a migration: no answer pauses, a bad answer holds through restarts, and a retry copies anew."""

from __future__ import annotations

from typing import Any

import pytest

from teal.cli.manifests import FileSecrets
from tests.integration.migration.support import EngineHarness
from tests.plugins.qdrant import Qdrant


def checks(engine: EngineHarness) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in engine.migration["verification"]["checks"]}


async def test_a_gate_without_an_answer_pauses_until_the_spec_lets_go(qdrant: Qdrant, prefix: str) -> None:
    async with EngineHarness.start(qdrant, f"{prefix}docs") as engine:
        blue = await engine.declare()
        engine.edit(distance="Manhattan", verification={"minOverlap": 0.999})
        await engine.until(lambda: engine.condition("Verified")["reason"] == "VerificationInconclusive")
        assert (engine.phase, engine.condition("Verified")["status"]) == ("Verifying", "Unknown")
        assert "Remove spec.verification.minOverlap" in engine.condition("Verified")["message"]
        assert checks(engine)["Overlap"]["verdict"] == "Inconclusive"
        await engine.rest()
        assert engine.serving() == blue
        assert engine.reasons().count("VerificationInconclusive") == 1
        engine.edit(verification={"minOverlap": None})
        await engine.until_ready()
        assert engine.condition("Verified")["status"] == "True"
        assert engine.serving() != blue


async def test_golden_queries_are_waited_for(qdrant: Qdrant, prefix: str) -> None:
    given = FileSecrets()
    async with EngineHarness.start(qdrant, f"{prefix}docs", secrets=given) as engine:
        await engine.declare()
        golden = {"goldenQueries": {"configMapRef": {"name": "golden"}, "minRecall": 0.5}}
        engine.edit(distance="Euclid", verification=golden)
        await engine.until(lambda: engine.condition("Verified")["reason"] == "VerificationError")
        assert engine.condition("Verified")["status"] == "Unknown"
        assert "'golden'" in checks(engine)["Recall"]["message"]
        manifest = {"metadata": {"name": "golden"}, "data": {"q.yaml": "- {query: text 3, relevant: [3]}"}}
        given.add_config_map(manifest, "search")
        await engine.until_ready()


@pytest.mark.fault(13)
async def test_a_failure_holds_through_restarts_until_it_is_retried(qdrant: Qdrant, prefix: str) -> None:
    async with EngineHarness.start(qdrant, f"{prefix}docs") as engine:
        blue = await engine.declare()
        engine.edit(distance="Euclid", migration={"promotion": {"mode": "Manual"}})
        await engine.until_phase("AwaitingPromotion")
        green = engine.migration["target"]
        engine.call("POST", f"/collections/{green}/points/payload?wait=true", {"payload": {"n": 0}, "points": [5]})
        engine.clock.advance(3601.0)  # an old verdict is given again before the cut-over
        engine.annotate("promote", engine.migration["planHash"])
        await engine.until_phase("Held")
        assert engine.condition("Verified")["status"] == "False"
        assert checks(engine)["Payloads"]["samples"] == ["5"]
        await engine.restart()
        await engine.rest()
        assert (engine.phase, engine.serving()) == ("Held", blue)
        engine.annotate("retry", engine.migration["id"])
        await engine.until_ready()
        assert engine.payloads(green)[5]["n"] == 5
        assert engine.serving() == green
