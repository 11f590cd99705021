"""What a migration will cost, said before it starts.

The figures are estimates. They let a person see a typo in `dimensions` before the provider's bill shows it, and
let Teal refuse at once when the budget cannot suffice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from teal.domain.errors import TerminalError
from teal.domain.plan import Plan, Population

COPY_RATE = 6000.0
EMBED_RATE = 40.0
CHARACTERS_PER_TOKEN = 4.0
HNSW_BYTES_PER_LINK = 4


@dataclass(frozen=True)
class Forecast:
    """`bytes` is what green takes beside blue; `seconds` assumes the rates of a small machine."""

    points: int
    bytes: int
    seconds: int
    embedding_texts: int
    embedding_tokens: int

    def as_json(self) -> dict[str, Any]:
        return {
            "points": self.points,
            "bytes": self.bytes,
            "seconds": self.seconds,
            "embeddingTexts": self.embedding_texts,
            "embeddingTokens": self.embedding_tokens,
        }

    def __str__(self) -> str:
        text = f"{self.points:,} points, {self.bytes / 1e6:,.1f} MB beside the serving collection"
        if self.embedding_texts:
            text += f", {self.embedding_texts:,} texts to embed (about {self.embedding_tokens:,} tokens)"
        return f"{text}, about {self.seconds} s"


def forecast(plan: Plan, points: int, mean_payload_bytes: float, mean_text_length: float) -> Forecast:
    """The cost of `plan` for `points` points, from a sample's mean payload size and text length."""
    links = int((plan.tuning.sections.get("hnsw_config") or {}).get("m", 16)) * 2
    per_point = plan.schema.vector_bytes + links * HNSW_BYTES_PER_LINK + mean_payload_bytes
    texts = points if plan.population is Population.REEMBED else 0
    rate = EMBED_RATE if texts else COPY_RATE
    return Forecast(
        points=points,
        bytes=int(points * per_point),
        seconds=max(1, round(points / rate)),
        embedding_texts=texts,
        embedding_tokens=int(texts * max(1.0, mean_text_length / CHARACTERS_PER_TOKEN)),
    )


def refuse_over_budget(figures: Forecast, max_tokens: int | None) -> None:
    """Refuse before the first text is paid for, when the budget cannot suffice."""
    if max_tokens is not None and figures.embedding_tokens > max_tokens:
        raise TerminalError(
            "BudgetTooSmall",
            f"Re-embedding needs about {figures.embedding_tokens:,} tokens for {figures.embedding_texts:,} texts, "
            f"but embedder.budget.maxTokens is {max_tokens:,}. Raise it, or undo the change.",
        )
