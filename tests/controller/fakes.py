"""An API server and an engine in memory, with as much behaviour as the controller relies on."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from teal.api.common import API_VERSION
from teal.api.embedding_set import EmbeddingSet
from teal.controller.kube import ApiServerError, ConflictError, GoneError, ObjectMeta
from teal.controller.objects import Kind, Ref, finalizers_of, is_deleting, ref_of
from teal.migration.contract import Outcome, Resource

NAMESPACE = "search"


def vector_collection(name: str = "docs", **spec: Any) -> dict[str, Any]:
    """A manifest; inline with 4 dimensions unless `embedding_set` or a spec says otherwise."""
    used = spec.pop("embedding_set", None)
    what = {"embeddingSetRef": {"name": used}} if used else {"dimensions": 4}
    return _manifest("VectorCollection", name, {"qdrant": {"url": "http://qdrant:6333"}, **what, **spec})


def embedding_set(name: str = "minilm", **spec: Any) -> dict[str, Any]:
    return _manifest("EmbeddingSet", name, {"schemaVersion": "v1", "dimensions": 4, **spec})


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def ref(name: str = "docs", kind: Kind = Kind.VECTOR_COLLECTION) -> Ref:
    return Ref(kind, NAMESPACE, name)


class FakeKube:
    """`Kube` over a dictionary. `fail` (a list of errors) makes the next calls fail, first things first."""

    def __init__(self) -> None:
        self.objects: dict[Ref, dict[str, Any]] = {}
        self.events: dict[str, Mapping[str, Any]] = {}
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.config_maps: dict[str, dict[str, str]] = {}
        self.writes: list[str] = []
        self.fail: dict[str, list[ApiServerError]] = {}
        self.prune: frozenset[str] = frozenset()
        self._versions = itertools.count(100)

    def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create or replace the spec and annotations, as `kubectl apply` does."""
        at = ref_of(Kind(manifest["kind"]), manifest)
        current = self.objects.get(at)
        obj = copy.deepcopy(dict(manifest))
        metadata = obj["metadata"]
        if current is None:
            metadata |= {"uid": f"uid-{next(self._versions)}", "generation": 1}
        else:
            grown = current["metadata"]["generation"] + (current["spec"] != obj["spec"])
            metadata |= {**current["metadata"], **metadata, "generation": grown}
            obj["status"] = current.get("status", {})
        return self._store(at, obj)

    def set_status(self, at: Ref, status: Mapping[str, Any]) -> dict[str, Any]:
        return self._store(at, {**self.objects[at], "status": status})

    def delete(self, at: Ref) -> dict[str, Any] | None:
        """As `kubectl delete`: gone at once, or (returned) marked while it has finalizers."""
        obj = self.objects[at]
        if not finalizers_of(obj):
            del self.objects[at]
            return None
        marked = {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        return self._store(at, {**obj, "metadata": marked})

    async def get(self, ref: Ref) -> dict[str, Any]:
        self._maybe_fail("get")
        return copy.deepcopy(self._existing(ref))

    async def list_metadata(self, kind: Kind, namespace: str | None) -> AsyncIterator[ObjectMeta]:
        self._maybe_fail("list")
        for at, obj in list(self.objects.items()):
            if at.kind is kind and namespace in (None, at.namespace):
                metadata = obj["metadata"]
                yield ObjectMeta(at, metadata["uid"], metadata["resourceVersion"])

    async def put_status(self, ref: Ref, uid: str, status: Mapping[str, Any]) -> dict[str, Any]:
        self._maybe_fail("status")
        obj = self._existing(ref)
        if obj["metadata"]["uid"] != uid:
            raise ConflictError("another uid", 409)
        self.writes.append(f"status {ref.name}")
        kept = {key: value for key, value in status.items() if key not in self.prune}
        return self._store(ref, {**obj, "status": kept})

    async def set_finalizers(self, obj: Mapping[str, Any], kind: Kind, own: Collection[str]) -> dict[str, Any]:
        self._maybe_fail("finalizer")
        at = ref_of(kind, obj)
        current = self._existing(at)
        if current["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise ConflictError("another version", 409)
        self.writes.append(f"finalizers {at.name} {' '.join(own)}".strip())
        finalizers = list(own)
        updated = {**current, "metadata": {**current["metadata"], "finalizers": finalizers}}
        if is_deleting(updated) and not finalizers:
            del self.objects[at]
            return updated
        return self._store(at, updated)

    async def post_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        self._maybe_fail("event")
        assert event["metadata"]["namespace"] == namespace
        self.events[event["metadata"]["name"]] = event

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        self._maybe_fail("secret")
        if name not in self.secrets or namespace != NAMESPACE:
            raise GoneError("no such Secret", 404)
        return self.secrets[name]

    async def read_config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        self._maybe_fail("config map")
        if name not in self.config_maps or namespace != NAMESPACE:
            raise GoneError("no such ConfigMap", 404)
        return self.config_maps[name]

    async def cluster_id(self) -> str:
        return "cluster"

    async def is_served(self, kind: Kind) -> bool:
        return kind in Kind

    @property
    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events.values()]

    def _existing(self, ref: Ref) -> dict[str, Any]:
        if ref not in self.objects:
            raise GoneError("no such object", 404)
        return self.objects[ref]

    def _store(self, at: Ref, obj: dict[str, Any]) -> dict[str, Any]:
        version = str(next(self._versions))
        self.objects[at] = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
        return copy.deepcopy(self.objects[at])

    def _maybe_fail(self, what: str) -> None:
        if self.fail.get(what):
            raise self.fail[what].pop(0)


async def until(condition: Callable[[], Any]) -> None:
    """Let everything else run until `condition` is true: for ten minutes of the loop's clock.

    In a real loop the test's own time limit is shorter; in a `SwiftLoop` nothing else would end a wait in vain.
    """
    async with asyncio.timeout(600):
        while not condition():  # noqa: ASYNC110 - of objects that announce nothing
            await asyncio.sleep(0.001)


def ready(**status: Any) -> dict[str, Any]:
    return {
        "phase": "Ready",
        "conditions": [{"type": "Ready", "status": "True", "reason": "UpToDate", "message": ""}],
        **status,
    }


class FakeEngine:
    """Answers `outcome` (or what `answer` makes of the resource), and remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Resource] = []
        self.sets: list[tuple[EmbeddingSet, Sequence[str]]] = []
        self.forgotten: list[str] = []
        self.closed = False
        self.outcome = Outcome(ready(), requeue_after=600.0)
        self.answer: Callable[[Resource], Outcome] = lambda _: self.outcome
        self.set_status: Mapping[str, Any] = ready()
        self.set_error: Exception | None = None

    async def reconcile(self, resource: Resource) -> Outcome:
        self.seen.append(resource)
        return self.answer(resource)

    async def inspect_embedding_set(
        self, embedding_set: EmbeddingSet, namespace: str, used_by: Sequence[str]
    ) -> Mapping[str, Any]:
        assert embedding_set.metadata.namespace == namespace
        self.sets.append((embedding_set, used_by))
        if self.set_error:
            raise self.set_error
        return {key: value for key, value in self.set_status.items() if key != "phase"}

    async def forget(self, uid: str) -> None:
        self.forgotten.append(uid)

    async def close(self) -> None:
        self.closed = True
