"""Figures before the first point moves, and a budget that is asked before the first text is paid for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.errors import TerminalError
from teal.domain.forecast import (
    CHARACTERS_PER_TOKEN,
    COPY_RATE,
    EMBED_RATE,
    Forecast,
    forecast,
    refuse_over_budget,
)
from teal.domain.plan import Plan, Population, Strategy
from teal.domain.tuning import Tuning
from tests.unit.domain.builders import dense, schema

COPY = Plan(Strategy.BLUE_GREEN, "green", "blue", Population.COPY, schema(dense(768)), Tuning())
REEMBED = replace(COPY, population=Population.REEMBED)


def test_copying() -> None:
    found = forecast(COPY, 60_000, mean_payload_bytes=200.0, mean_text_length=0.0)
    assert found == Forecast(
        points=60_000,
        bytes=60_000 * (768 * 4 + 2 * 16 * 4 + 200),
        seconds=round(60_000 / COPY_RATE),
        embedding_texts=0,
        embedding_tokens=0,
    )
    assert str(found) == "60,000 points, 204.0 MB beside the serving collection, about 10 s"


def test_re_embedding() -> None:
    found = forecast(REEMBED, 1000, mean_payload_bytes=0.0, mean_text_length=100.0)
    assert found.seconds == round(1000 / EMBED_RATE)
    assert found.embedding_texts == 1000
    assert found.embedding_tokens == int(1000 * 100 / CHARACTERS_PER_TOKEN)
    assert "1,000 texts to embed (about 25,000 tokens)" in str(found)


def test_the_declared_graph_counts() -> None:
    def size(m: int) -> int:
        tuned = replace(COPY, tuning=Tuning({"hnsw_config": {"m": m}}))
        return forecast(tuned, 1, 0.0, 0.0).bytes

    assert size(0) == 768 * 4
    assert size(64) - size(32) == 2 * 32 * 4


@given(st.integers(0, 10**9), st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from([COPY, REEMBED]))
def test_figures_are_whole_and_never_negative(points: int, payload: float, text: float, plan: Plan) -> None:
    found = forecast(plan, points, payload, text)
    assert found.seconds >= 1
    assert all(isinstance(value, int) and value >= 0 for value in found.as_json().values())
    assert found.embedding_tokens >= found.embedding_texts, "a text is at least one token"
    assert found.as_json().keys() == {"points", "bytes", "seconds", "embeddingTexts", "embeddingTokens"}


class TestBudget:
    FIGURES = Forecast(10, 0, 1, embedding_texts=10, embedding_tokens=1000)

    @staticmethod
    def refusal(figures: Forecast, budget: int | None) -> TerminalError | None:
        try:
            refuse_over_budget(figures, budget)
        except TerminalError as error:
            return error
        return None

    @pytest.mark.parametrize("budget", [None, 1000, 1001])
    def test_it_suffices(self, budget: int | None) -> None:
        assert self.refusal(self.FIGURES, budget) is None

    @pytest.mark.parametrize("budget", [999, 1, 0])
    def test_it_does_not(self, budget: int) -> None:
        refused = self.refusal(self.FIGURES, budget)
        assert refused is not None
        assert refused.reason == "BudgetTooSmall"
        assert "about 1,000 tokens for 10 texts" in refused.message

    def test_copying_costs_no_tokens(self) -> None:
        figures = forecast(COPY, 10**9, 1.0, 1.0)
        assert (figures.embedding_texts, figures.embedding_tokens) == (0, 0)
        assert self.refusal(figures, 0) is None
