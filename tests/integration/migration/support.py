"""The engine by itself: a declared collection, edits and annotations, a clock, and Qdrant to look at the truth.

No Kubernetes: an `EngineHarness` does what a host does. It reconciles a Resource again and again, gives the last
status back to the engine, and keeps the Events. `restart` throws the engine's memory away as a crash would.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import numpy as np

from teal.api.embedding_set import EmbeddingSet
from teal.api.manifest import parse
from teal.api.status import VectorCollectionStatus
from teal.api.vector_collection import VectorCollection
from teal.cli.manifests import FileSecrets
from teal.domain.plan import Plan
from teal.migration.clock import Clock
from teal.migration.contract import Note, Outcome, Resource
from teal.migration.engine import Engine
from tests.plugins.qdrant import Qdrant

Json = dict[str, Any]
SIZE = 4
PATIENCE = 60.0
CLUSTER = "cluster-1"


class ShiftedClock(Clock):
    """Real time, moved by `advance`; both clocks move together unless only the wall is shifted."""

    def __init__(self) -> None:
        self._shift = 0.0
        self._wall_shift = 0.0

    def now(self) -> float:
        return super().now() + self._shift + self._wall_shift

    def monotonic(self) -> float:
        return super().monotonic() + self._shift

    def elsewhere(self, shown: float) -> float:
        return shown + self._shift

    def advance(self, seconds: float) -> None:
        """Time passes, everywhere."""
        self._shift += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._wall_shift += seconds


class EngineHarness:
    """One resource, `docs` in namespace `search`, whose alias is unique to the test."""

    def __init__(
        self,
        qdrant: Qdrant,
        alias: str,
        *,
        spec: Json | None = None,
        embedding_set: Json | None = None,
        clock: ShiftedClock | None = None,
        secrets: FileSecrets | None = None,
    ) -> None:
        self.qdrant = qdrant
        self.alias = alias
        self.clock = clock or ShiftedClock()
        self.notes: list[Note] = []
        self.status: Json = {}
        self.annotations: dict[str, str] = {}
        self.generation = 1
        self.embedding_set = embedding_set
        self.spec = _merged(_spec(qdrant, alias, inline=embedding_set is None), spec or {})
        self._secrets = secrets or FileSecrets()
        self._engine = Engine(self._secrets, CLUSTER, clock=self.clock)
        self._http = qdrant.client()

    @classmethod
    @asynccontextmanager
    async def start(cls, qdrant: Qdrant, alias: str, **given: Any) -> AsyncIterator[Self]:
        harness = cls(qdrant, alias, **given)
        try:
            yield harness
        finally:
            await harness.close()

    def use(self, qdrant: Qdrant) -> None:
        """Look at the truth by other credentials."""
        self._http.close()
        self.qdrant, self._http = qdrant, qdrant.client()

    async def close(self) -> None:
        await self._engine.close()
        self._http.close()

    # What users do

    def edit(self, **changes: Any) -> None:
        """Merge into the spec, as a commit would; `None` removes a field."""
        self.spec = _merged(self.spec, changes)
        self.generation += 1

    def edit_embedding_set(self, **changes: Any) -> None:
        assert self.embedding_set is not None
        self.embedding_set["spec"] = _merged(self.embedding_set["spec"], changes)

    def annotate(self, action: str, value: str) -> None:
        self.annotations[f"teal.dev/{action}"] = value

    async def restart(self) -> None:
        """The operator is gone, with everything that it had in memory; another one begins."""
        await self._engine.close()
        self._engine = Engine(self._secrets, CLUSTER, clock=self.clock)

    # What the host does

    @property
    def resource(self) -> Resource:
        manifest = parse(
            {
                "apiVersion": "teal.dev/v1alpha1",
                "kind": "VectorCollection",
                "metadata": {"name": "docs", "namespace": "search"},
                "spec": copy.deepcopy(self.spec),
            }
        )
        assert isinstance(manifest, VectorCollection)
        found = parse(copy.deepcopy(self.embedding_set)) if self.embedding_set else None
        assert found is None or isinstance(found, EmbeddingSet)
        return Resource(
            manifest=manifest,
            embedding_set=found,
            uid=f"uid-{self.alias}",
            namespace="search",
            name="docs",
            generation=self.generation,
            annotations=dict(self.annotations),
            status=self.status,
        )

    async def step(self) -> Outcome:
        """One reconcile, after which its status is the resource's."""
        outcome = await self._engine.reconcile(self.resource)
        assert _unknown(outcome.status) == []
        self.status = dict(outcome.status)
        self.notes += outcome.notes
        return outcome

    async def plan(self) -> Plan:
        """What another process would do next; it must not matter to this one that it was asked."""
        other = Engine(self._secrets, CLUSTER, clock=self.clock)
        try:
            found = await other.plan(self.resource)
        finally:
            await other.close()
        assert found.decision, found.error
        return found.decision.plan

    async def until(self, done: Callable[[], bool], *, patience: float = PATIENCE) -> None:
        """Reconcile until `done`; fails with everything that there is to know."""

        async def go() -> None:
            while True:
                outcome = await self.step()
                if done():
                    return
                await asyncio.sleep(min(0.05, outcome.requeue_after))

        try:
            await asyncio.wait_for(go(), patience)
        except TimeoutError:
            raise AssertionError(f"it did not come to that: {self.describe()}") from None

    async def until_ready(self, *, patience: float = PATIENCE) -> None:
        await self.until(
            lambda: self.phase == "Ready" and self.condition("Ready")["status"] == "True", patience=patience
        )

    async def until_phase(self, phase: str, *, patience: float = PATIENCE) -> None:
        await self.until(lambda: self.phase == phase, patience=patience)

    async def rest(self, steps: int = 5) -> None:
        """Some more reconciles, in which nothing should change."""
        for _ in range(steps):
            await self.step()

    # What there is to see

    @property
    def phase(self) -> str:
        return str(self.status.get("phase"))

    @property
    def migration(self) -> Json:
        return dict(self.status.get("migration") or {})

    def condition(self, kind: str) -> Json:
        found = {each["type"]: each for each in self.status.get("conditions") or ()}
        return dict(found.get(kind) or {"status": "absent", "reason": "", "message": ""})

    def reasons(self) -> list[str]:
        """The Events' reasons, in order."""
        return [note.reason for note in self.notes]

    def told(self, reason: str) -> str:
        """The message of the only Event of this reason."""
        (note,) = [each for each in self.notes if each.reason == reason]
        return note.message

    def describe(self) -> str:
        events = "\n".join(f"  {note.reason}: {note.message}" for note in self.notes)
        return f"{self.status}\n{events}"

    # Qdrant

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The `result` of a REST call."""
        return self._http.request(method, path, json=body).raise_for_status().json()["result"]

    def answered(self, method: str, path: str, body: Any = None) -> int:
        """The status code of a REST call, whichever it is."""
        return self._http.request(method, path, json=body).status_code

    def put(self, points: Iterable[Json], collection: str | None = None) -> None:
        path = f"/collections/{collection or self.alias}/points?wait=true"
        self.call("PUT", path, {"points": list(points)})

    def delete(self, ids: list[int], collection: str | None = None) -> None:
        self.call("POST", f"/collections/{collection or self.alias}/points/delete?wait=true", {"points": ids})

    def points(self, collection: str | None = None) -> dict[int, Json]:
        """All points, payload and vector, by id."""
        body = {"limit": 10_000, "with_payload": True, "with_vector": True}
        found = self.call("POST", f"/collections/{collection or self.alias}/points/scroll", body)
        return {point["id"]: point for point in found["points"]}

    def payloads(self, collection: str | None = None) -> dict[int, Json]:
        return {name: point["payload"] for name, point in self.points(collection).items()}

    def serving(self) -> str:
        """The collection that the alias points at."""
        return str(self.aliases()[self.alias])

    def aliases(self) -> dict[str, str]:
        found = self.call("GET", "/aliases")["aliases"]
        return {each["alias_name"]: each["collection_name"] for each in found}

    def collections(self) -> set[str]:
        """Those of this resource."""
        found = self.call("GET", "/collections")["collections"]
        return {each["name"] for each in found if each["name"].startswith(self.alias)}

    def marks(self, collection: str) -> Json:
        return dict(self.call("GET", f"/collections/{collection}")["config"].get("metadata") or {})

    async def declare(self, points: int = 60) -> str:
        """The first revision, with points in it; its name."""
        await self.until_ready()
        self.put(some_points(points))
        return self.serving()


def some_points(count: int, start: int = 1, **payload: Any) -> list[Json]:
    """Points with vectors of length 1 and a text."""
    random = np.random.default_rng(start)
    vectors = random.normal(size=(count, SIZE))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        {
            "id": start + n,
            "vector": vectors[n].tolist(),
            "payload": {"n": start + n, "text": f"text {start + n}", **payload},
        }
        for n in range(count)
    ]


def _spec(qdrant: Qdrant, alias: str, *, inline: bool) -> Json:
    encoding: Json = {"dimensions": SIZE, "distance": "Cosine"} if inline else {"embeddingSetRef": {"name": "e"}}
    return {
        "qdrant": {"url": qdrant.url, "grpcPort": qdrant.grpc_port},
        "alias": alias,
        **encoding,
        "migration": {"allowNormalized": True, "promotion": {"quietWait": "1s"}},
        "watch": {"duration": "0s", "interval": "1s"},
        "retention": {"keepFor": "1h", "snapshot": False},
    }


def _unknown(status: Mapping[str, Any]) -> list[str]:
    """Fields of a status that the API server would drop, because the CRD has none of their name."""
    read = VectorCollectionStatus.model_validate(dict(status), by_alias=True, by_name=False)
    return list(_lost(status, read.model_dump(mode="json", by_alias=True), "status"))


def _lost(given: Any, kept: Any, path: str) -> Iterator[str]:
    if isinstance(given, Mapping):
        for key, value in given.items():
            if key in kept:
                yield from _lost(value, kept[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(given, list):
        for value, other in zip(given, kept, strict=False):
            yield from _lost(value, other, f"{path}[]")


def _merged(old: Json, changes: Json) -> Json:
    new = copy.deepcopy(old)
    for key, value in changes.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict) and isinstance(new.get(key), dict):
            new[key] = _merged(new[key], value)
        else:
            new[key] = copy.deepcopy(value)
    return new
