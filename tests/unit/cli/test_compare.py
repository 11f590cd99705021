"""`teal verify` refuses what it cannot compare, and says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from teal.cli.compare import ComparisonRequest, compare
from teal.domain.errors import TerminalError
from teal.domain.quality import JudgedQuery
from teal.migration.verification.comparison import Gates
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import Server
from tests.unit.migration.fake_qdrant import Effect, FakeQdrant, server_of

END = Endpoint("http://qdrant:6333")


async def carry(_: str, __: bool, effect: Effect[Any]) -> Any:
    return effect()


async def judged() -> Sequence[JudgedQuery]:
    return [JudgedQuery("how to", (1,), 10)]


async def refusal(*names: str, **given: Any) -> TerminalError:
    """Why `blue` and `green` are not compared on a server that has the collections `names`."""
    fake = FakeQdrant(lambda: 0.0)
    for name in names:
        fake._create(name, {"vectors": {"size": 4, "distance": "Dot"}})

    def connect(endpoint: Endpoint) -> Server:
        return server_of(fake, carry, lambda: 0.0)(endpoint)

    asked: dict[str, Any] = {
        "gates": Gates(), "sample": 10, "encoder": "auto", "text_field": None, "embedder": None,
        "embedder_key": None, "model": None, "judged": None, **given,
    }  # fmt: skip
    with pytest.raises(TerminalError) as caught:
        await compare(ComparisonRequest("blue", "green", END, END, **asked), connect)
    return caught.value


async def test_a_collection_that_is_not_there() -> None:
    error = await refusal("blue")
    assert error.reason == "CollectionNotFound"
    assert "'green'" in error.message


async def test_judged_queries_for_vectors_of_an_unknown_model() -> None:
    error = await refusal("blue", "green", judged=judged)
    assert error.reason == "ModelUnknown"
    assert "--model" in error.message
