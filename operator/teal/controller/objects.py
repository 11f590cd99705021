"""Names of Kubernetes objects, and the few fields of raw objects that the controller reads.

Objects stay raw JSON until a reconcile needs one: the cache holds thousands that are not needed for minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from teal.api.common import GROUP, VERSION

RawObject = Mapping[str, Any]

CLEANUP_FINALIZER = f"{GROUP}/cleanup"
"""With `deletionPolicy: Delete`: the collections of the resource are deleted before it goes."""
FENCE_FINALIZER = f"{GROUP}/fence"
"""While writers are or may be blocked: a fence is lifted before the resource goes."""
FINALIZERS = frozenset({CLEANUP_FINALIZER, FENCE_FINALIZER})


class Kind(StrEnum):
    """The two kinds that Teal serves."""

    VECTOR_COLLECTION = "VectorCollection"
    EMBEDDING_SET = "EmbeddingSet"

    @property
    def plural(self) -> str:
        return f"{self.value.lower()}s"


class Ref(NamedTuple):
    """The place of an object; of all objects that ever had this place, the uid names one."""

    kind: Kind
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """The object's path on the API server."""
        return f"{collection_path(self.kind, self.namespace)}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind.value} {self.namespace}/{self.name}"


def collection_path(kind: Kind, namespace: str | None) -> str:
    """The path of all objects of `kind` in `namespace`, or (`None`) in all."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{scope}/{kind.plural}"


def ref_of(kind: Kind, obj: RawObject) -> Ref:
    metadata = obj["metadata"]
    return Ref(kind, metadata["namespace"], metadata["name"])


def uid_of(obj: RawObject) -> str:
    uid: str = obj["metadata"]["uid"]
    return uid


def generation_of(obj: RawObject) -> int:
    generation: int = obj["metadata"].get("generation", 1)
    return generation


def status_of(obj: RawObject) -> Mapping[str, Any]:
    status: Mapping[str, Any] | None = obj.get("status")
    return status or {}


def finalizers_of(obj: RawObject) -> Sequence[str]:
    finalizers: Sequence[str] | None = obj["metadata"].get("finalizers")
    return finalizers or ()


def own_finalizers(obj: RawObject) -> frozenset[str]:
    """The finalizers that Teal has set."""
    return FINALIZERS & set(finalizers_of(obj))


def with_finalizers(obj: RawObject, own: Collection[str]) -> RawObject:
    """`obj` with exactly these of Teal's finalizers; finalizers of others stay."""
    others = [each for each in finalizers_of(obj) if each not in FINALIZERS]
    finalizers = [*others, *sorted(own)]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    return {**obj, "metadata": {**metadata, "finalizers": finalizers} if finalizers else metadata}


def is_deleting(obj: RawObject) -> bool:
    return obj["metadata"].get("deletionTimestamp") is not None
