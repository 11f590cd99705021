"""The status of an EmbeddingSet: a probe of its embedder, once an hour, and who uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teal.api.embedding_set import EmbeddingSet
from teal.api.unsupported import unsupported_source
from teal.domain.errors import TealError
from teal.migration.clock import Clock, iso
from teal.migration.contract import Secrets
from teal.migration.resolve import embedders
from teal.sources.embedder import OpenAIEmbedder, ProbedEncoder

PROBE_SECONDS = 3600.0
FAILED_SECONDS = 60.0


class Probes:
    """Remembers each embedder's answer, because a probe costs tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[str, float, ProbedEncoder | TealError]] = {}

    async def status(
        self, declared: EmbeddingSet, namespace: str, used_by: Sequence[str], secrets: Secrets
    ) -> Mapping[str, Any]:
        """The whole status, with `Ready` saying whether the embedder answers as the spec says."""
        probe = await self._probe(declared, namespace, secrets)
        status: dict[str, Any] = {
            "observedGeneration": declared.metadata.generation or 0,
            "usedBy": sorted(used_by),
            "conditions": [self._ready(declared, probe)],
        }
        if isinstance(probe, ProbedEncoder):
            status |= {"probedDimensions": probe.dimensions, "fingerprint": probe.fingerprint}
        return status

    async def _probe(
        self, declared: EmbeddingSet, namespace: str, secrets: Secrets
    ) -> ProbedEncoder | TealError | None:
        key = declared.metadata.uid or f"{namespace}/{declared.metadata.name}"
        spec = declared.spec.model_dump_json()
        known, until, answer = self._known.get(key, ("", 0.0, None))
        if known == spec and answer is not None and self._clock.now() < until:
            return answer
        embedder = embedders.embedder(declared, namespace, secrets, OpenAIEmbedder)
        if embedder is None:
            return None
        async with embedder:
            try:
                fresh: ProbedEncoder | TealError = await embedder.probe()
            except TealError as error:
                fresh = error
        keep = FAILED_SECONDS if isinstance(fresh, TealError) else PROBE_SECONDS
        self._known[key] = (spec, self._clock.now() + keep, fresh)
        return fresh

    def _ready(self, declared: EmbeddingSet, probe: ProbedEncoder | TealError | None) -> dict[str, Any]:
        status, reason, message = _judge(declared, probe)
        return {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": declared.metadata.generation or 0,
            "lastTransitionTime": iso(self._clock.now()),
        }


def _judge(declared: EmbeddingSet, probe: ProbedEncoder | TealError | None) -> tuple[str, str, str]:
    problems = unsupported_source(declared.spec)
    if problems:
        return "False", "NotSupportedYet", "; ".join(problems)
    if probe is None:
        return "True", "NoEmbedder", "The EmbeddingSet has no embedder, so there is nothing to probe."
    if isinstance(probe, TealError):
        return "False", probe.reason, probe.message
    if probe.dimensions != declared.spec.dimensions:
        message = (
            f"The embedder answers vectors of {probe.dimensions} dimensions, but the spec declares "
            f"{declared.spec.dimensions}. Correct dimensions or model."
        )
        return "False", "WrongDimensions", message
    return "True", "EmbedderAnswers", f"{declared.spec.model} answers vectors of {probe.dimensions} dimensions."
