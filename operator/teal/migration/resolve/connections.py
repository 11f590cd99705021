"""The servers that a resource's fields and Secrets name: its Qdrant, and its judged queries.

Secrets are read each time they are used, in the resource's own namespace only, and a key goes only to the URL
that stands beside it in the same spec.
"""

from __future__ import annotations

from collections.abc import Sequence

from teal.api.vector_collection import VectorCollectionSpec
from teal.domain.quality import JudgedQuery
from teal.migration.contract import ReadJudgedQueries, Reads, Resource, Secrets
from teal.migration.verification import judged as judged_queries
from teal.qdrant.endpoint import Endpoint


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


def judged(resource: Resource, reads: Reads) -> ReadJudgedQueries | None:
    """Reads the queries that `verification.goldenQueries` names; `None` where it names none."""
    golden = resource.manifest.spec.verification.golden_queries
    if golden is None:
        return None
    name = golden.config_map_ref.name

    async def read() -> Sequence[JudgedQuery]:
        return judged_queries.parse(await reads.config_map(resource.namespace, name), f"ConfigMap {name}")

    return read
