"""All checks in order: cheap and decisive ones first, searches last, when caches are warm on both sides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from teal.domain.errors import TerminalError, TransientError
from teal.domain.verdict import Check, Verdict
from teal.migration.verification import (
    content,
    encoder,
    ids,
    indexes,
    judged,
    latency,
    search,
    tenants,
    vectors,
)
from teal.migration.verification.comparison import Comparison

Question = Callable[[Comparison], Awaitable[list[Check]]]

ESSENTIAL: tuple[tuple[str, Question], ...] = (
    ("IdParity", ids.parity),
    ("Tenants", tenants.parity),
    ("Vectors", vectors.presence),
    ("VectorSanity", vectors.sanity),
    ("Content", content.content),
    ("Payloads", content.payloads),
    ("Configuration", indexes.configuration),
    ("Index", indexes.completeness),
)
QUALITY: tuple[tuple[str, Question], ...] = (
    ("SelfRecall", search.self_recall),
    ("Overlap", search.overlap),
    ("Recall", judged.recall),
    ("Encoder", encoder.fingerprint),
    ("Embeddings", encoder.remade),
    ("Latency", latency.ratio),
)
MOST = 32
"""How many checks a status can hold."""


async def ask_all(comparison: Comparison) -> list[Check]:
    """The result of every check. One that fails for the moment is an Error. One that Qdrant refuses, such as exact
    searches in strict mode, is Inconclusive, unless it is essential.

    Searches are left out when green has failed already: they are slow and could not change the verdict.

    Raises:
        TerminalError: Qdrant refuses an essential check.
    """
    found: list[Check] = []
    for name, question in ESSENTIAL:
        found += await _asked(name, question, comparison)
    if all(check.verdict is not Verdict.FAILED for check in found):
        for name, question in QUALITY:
            try:
                found += await _asked(name, question, comparison)
            except TerminalError as error:
                found.append(Check(name, Verdict.INCONCLUSIVE, error.message, gate=_is_gate(name, comparison)))
    return found[:MOST]


async def _asked(name: str, question: Question, comparison: Comparison) -> list[Check]:
    try:
        return await question(comparison)
    except TransientError as error:
        return [Check(name, Verdict.ERROR, f"could not be checked: {error.message}")]


def _is_gate(name: str, comparison: Comparison) -> bool:
    gates = comparison.gates
    asked = {"Overlap": gates.min_overlap, "Recall": gates.min_recall, "Latency": gates.max_latency_ratio}
    return asked.get(name) is not None
