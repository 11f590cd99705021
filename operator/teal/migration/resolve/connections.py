"""The tools that a resource's own fields and Secrets name: its Qdrant and its embedder.

Secrets are read each time they are used, in the resource's own namespace only, and a key goes only to the URL
that stands beside it in the same spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teal.api.embedding_set import EmbeddingSet
from teal.api.vector_collection import VectorCollectionSpec
from teal.domain.quality import JudgedQuery
from teal.migration.contract import Reads, Resource, Secrets
from teal.migration.verification import judged as judged_queries
from teal.migration.verification.comparison import Judged
from teal.qdrant.endpoint import Endpoint
from teal.sources.embedder import OpenAIEmbedder


async def endpoint(spec: VectorCollectionSpec, namespace: str, secrets: Secrets) -> Endpoint:
    """Where the resource's Qdrant is, with its key and CA."""
    qdrant = spec.qdrant
    key = qdrant.api_key_secret_ref
    ca = qdrant.tls.ca_secret_ref if qdrant.tls else None
    return Endpoint(
        url=qdrant.url,
        grpc_port=qdrant.grpc_port,
        api_key=await secrets.read(namespace, key.name, key.key) if key else None,
        ca=await secrets.read(namespace, ca.name, ca.key) if ca else None,
        insecure_skip_verify=bool(qdrant.tls and qdrant.tls.insecure_skip_verify),
    )


def other_embedder(
    known: Mapping[str, Any] | None, embedding_set: EmbeddingSet | None, namespace: str, secrets: Secrets
) -> OpenAIEmbedder | None:
    """The encoder that a retained collection's mark names, if the set's own server has it.

    A mark names no Secret, and a key goes only to the URL that stands beside it in the spec: so another URL than
    the set's is not asked.
    """
    declared = embedding_set.spec.embedder if embedding_set else None
    if declared is None or embedding_set is None or not known or not known.get("model"):
        return None
    if known.get("url") != declared.open_ai.url:
        return None
    changed = {"model": str(known["model"]), "dimensions": int(known["dimensions"])}
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


def judged(resource: Resource, reads: Reads) -> Judged | None:
    """Reads the queries that `verification.goldenQueries` names; `None` where it names none."""
    golden = resource.manifest.spec.verification.golden_queries
    if golden is None:
        return None
    name = golden.config_map_ref.name

    async def read() -> Sequence[JudgedQuery]:
        return judged_queries.parse(await reads.config_map(resource.namespace, name), f"ConfigMap {name}")

    return read
