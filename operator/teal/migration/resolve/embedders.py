"""Each resource's embedders: that of its EmbeddingSet, and those of other encoders which its collections name.

They live as long as the EmbeddingSet stays the same, because each keeps a connection, a count and a cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from teal.api.embedding_set import EmbeddingSet
from teal.domain.marks import Encoder
from teal.domain.observed import CollectionState
from teal.domain.plan import Desired
from teal.migration.contract import Resource, Secrets
from teal.sources.embedder import OpenAIEmbedder


@dataclass
class _Made:
    """What was made for one EmbeddingSet; `others` by the encoder that a collection's mark names."""

    declared: str
    own: OpenAIEmbedder | None
    others: dict[str, OpenAIEmbedder] = field(default_factory=dict)

    async def close(self) -> None:
        for embedder in (self.own, *self.others.values()):
            if embedder:
                await embedder.aclose()


class Embedders:
    """Makes them when they are asked for. `None` is answered where nobody can be asked."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._made: dict[str, _Made] = {}

    async def own(self, resource: Resource) -> OpenAIEmbedder | None:
        """That of the EmbeddingSet as it is declared now."""
        return (await self._of(resource)).own if resource.embedding_set else None

    async def of(self, resource: Resource, wanted: Desired, state: CollectionState) -> OpenAIEmbedder | None:
        """Whatever made the vectors of `state`: the spec's own embedder, or another model that it has."""
        if wanted.encoder and wanted.encoder == state.marks.encoder:
            return await self.own(resource)
        return await self.other(resource, state)

    async def other(self, resource: Resource, state: CollectionState) -> OpenAIEmbedder | None:
        """That which the marks of `state` name, if the EmbeddingSet's own server has it."""
        if resource.embedding_set is None:
            return None
        others, encoder = (await self._of(resource)).others, repr(state.marks.encoder)
        if encoder not in others:
            made = other_embedder(state.marks.encoder, resource.embedding_set, resource.namespace, self._secrets)
            if made is None:
                return None
            others[encoder] = made
        return others[encoder]

    async def close(self, uid: str) -> None:
        """The resource is gone."""
        made = self._made.pop(uid, None)
        if made:
            await made.close()

    async def close_all(self) -> None:
        for uid in list(self._made):
            await self.close(uid)

    async def _of(self, resource: Resource) -> _Made:
        declared = resource.embedding_set.spec.model_dump_json() if resource.embedding_set else ""
        known = self._made.get(resource.uid)
        if known and known.declared == declared:
            return known
        await self.close(resource.uid)
        spent = known.own.tokens_spent if known and known.own else 0
        own = embedder(resource.embedding_set, resource.namespace, self._secrets, spent)
        made = self._made[resource.uid] = _Made(declared, own)
        return made


def other_embedder(
    known: Encoder | None, embedding_set: EmbeddingSet | None, namespace: str, secrets: Secrets
) -> OpenAIEmbedder | None:
    """The encoder that a retained collection's mark names, if the set's own server has it.

    A mark names no Secret, and a key goes only to the URL that stands beside it in the spec: so another URL than
    the set's is not asked.
    """
    declared = embedding_set.spec.embedder if embedding_set else None
    if declared is None or embedding_set is None or known is None or not known.model:
        return None
    if known.dimensions is None or known.url != declared.open_ai.url:
        return None
    changed = {"model": known.model, "dimensions": known.dimensions}
    spec = embedding_set.spec.model_copy(update=changed)
    return embedder(embedding_set.model_copy(update={"spec": spec}), namespace, secrets)


def embedder(
    embedding_set: EmbeddingSet | None, namespace: str, secrets: Secrets, spent: int = 0
) -> OpenAIEmbedder | None:
    """The set's embedder; `spent` is what this migration has cost so far, in tokens."""
    if embedding_set is None or embedding_set.spec.embedder is None or embedding_set.spec.model is None:
        return None
    declared = embedding_set.spec.embedder
    server, budget = declared.open_ai, declared.budget
    reference = server.api_key_secret_ref

    async def key() -> str | None:
        return await secrets.read(namespace, reference.name, reference.key) if reference else None

    return OpenAIEmbedder(
        server.url,
        embedding_set.spec.model,
        embedding_set.spec.dimensions,
        api_key=key,
        batch_size=server.batch_size,
        parallelism=server.parallelism,
        requests_per_minute=budget.requests_per_minute if budget else None,
        max_tokens=budget.max_tokens if budget else None,
        tokens_spent=spent,
    )
