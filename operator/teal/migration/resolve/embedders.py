"""Each resource's embedders: the one of its EmbeddingSet, and those of other encoders that its collections name.

They are kept as long as the EmbeddingSet stays the same, because each has connections, a token count and a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from teal.api.embedding_set import EmbeddingSet
from teal.domain.marks import Encoder
from teal.domain.observed import CollectionState
from teal.domain.plan import Desired, Population
from teal.domain.policy import Decision, Do
from teal.migration.contract import ReadJudgedQueries, Reads, Resource, Secrets
from teal.migration.resolve.connections import judged
from teal.sources.embedder import Embedder, OpenAIEmbedder


class Client(Embedder, Protocol):
    """An embedder that holds connections and counts what it costs."""

    @property
    def tokens_spent(self) -> int:
        """By this client and those that it continues."""
        ...

    async def aclose(self) -> None:
        """End its connections."""
        ...


C = TypeVar("C", bound=Client)
MakeClient = Callable[..., Client]
"""Takes what `OpenAIEmbedder` takes."""


@dataclass
class _Made:
    """What was made for one EmbeddingSet; `others` by the encoder that a collection's mark names."""

    declared: str
    own: Client | None
    others: dict[str, Client] = field(default_factory=dict)

    async def close(self) -> None:
        for embedder in (self.own, *self.others.values()):
            if embedder:
                await embedder.aclose()


class Embedders:
    """Makes embedders at their first use; the answer is `None` where no embedder can be called."""

    def __init__(self, secrets: Secrets, make: MakeClient = OpenAIEmbedder) -> None:
        self._secrets = secrets
        self._make = make
        self._made: dict[str, _Made] = {}

    async def own(self, resource: Resource) -> Client | None:
        """The embedder of the EmbeddingSet as it is declared now."""
        return (await self._of(resource)).own if resource.embedding_set else None

    async def of(self, resource: Resource, wanted: Desired, state: CollectionState) -> Client | None:
        """The embedder that made the vectors of `state`: the declared one, or another model of its server."""
        if wanted.encoder and wanted.encoder == state.marks.encoder:
            return await self.own(resource)
        return await self.other(resource, state)

    async def other(self, resource: Resource, state: CollectionState) -> Client | None:
        """The encoder that the marks of `state` name, if it has the EmbeddingSet's URL."""
        if resource.embedding_set is None:
            return None
        others, encoder = (await self._of(resource)).others, repr(state.marks.encoder)
        if encoder not in others:
            made = self._other(state.marks.encoder, resource)
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
        own = embedder(resource.embedding_set, resource.namespace, self._secrets, self._make, spent)
        made = self._made[resource.uid] = _Made(declared, own)
        return made

    def _other(self, known: Encoder | None, resource: Resource) -> Client | None:
        """The encoder that a retained collection's mark names, if it has the set's URL.

        A mark names no Secret, and a key goes only to the URL that stands beside it in the spec: so another URL
        than the set's is never called.
        """
        embedding_set = resource.embedding_set
        declared = embedding_set.spec.embedder if embedding_set else None
        if declared is None or embedding_set is None or known is None or not known.model:
            return None
        if known.dimensions is None or known.url != declared.open_ai.url:
            return None
        changed = {"model": known.model, "dimensions": known.dimensions}
        spec = embedding_set.spec.model_copy(update=changed)
        other = embedding_set.model_copy(update={"spec": spec})
        return embedder(other, resource.namespace, self._secrets, self._make)


def embedder(
    embedding_set: EmbeddingSet | None,
    namespace: str,
    secrets: Secrets,
    make: Callable[..., C],
    spent: int = 0,
) -> C | None:
    """The set's embedder; `spent` is what this migration has cost so far, in tokens."""
    if embedding_set is None or embedding_set.spec.embedder is None or embedding_set.spec.model is None:
        return None
    declared = embedding_set.spec.embedder
    server, budget = declared.open_ai, declared.budget
    reference = server.api_key_secret_ref

    async def key() -> str | None:
        return await secrets.read(namespace, reference.name, reference.key) if reference else None

    return make(
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


class ResourceEncoders:
    """The encoders of one resource: what `Context.encoders` is."""

    def __init__(self, embedders: Embedders, resource: Resource, wanted: Desired, reads: Reads) -> None:
        self._embedders, self._resource, self._wanted, self._reads = embedders, resource, wanted, reads

    async def own(self) -> Client | None:
        return await self._embedders.own(self._resource)

    async def of(self, state: CollectionState) -> Client | None:
        return await self._embedders.of(self._resource, self._wanted, state)

    async def other(self, state: CollectionState) -> Client | None:
        return await self._embedders.other(self._resource, state)

    def judged(self) -> ReadJudgedQueries | None:
        return judged(self._resource, self._reads)

    async def of_target(self, decision: Decision, subject: CollectionState | None) -> Client | None:
        """The encoder of the plan's target: the declared one, or in a rollback that of the retained one."""
        if subject is not None and decision.do is Do.FINISH_CUTOVER:
            return await self.of(subject)
        if decision.plan.population is not Population.REEMBED:
            return None
        if subject is not None and decision.declined and decision.do is Do.ROLL_BACK:
            return await self.other(subject)
        return await self.own()
