"""What end-to-end tests say: declare a collection of documents, edit it as Git would, wait, and look at the truth.

A `Docs` is one alias of one namespace as a team declares it. Edits are merged into its manifests and applied; a
wait that takes too long fails with everything that there is to know: status, Events and the operator's log.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import yaml
from kubernetes.client.exceptions import ApiException, NotFoundException

from devkit.clients import Audit, Clients, Ledger, Workload, audit, load
from devkit.cluster import Cluster, Manifest
from devkit.corpus import Entry, sample
from devkit.embeddings import EmbeddingServer
from devkit.teal import Operator
from teal.qdrant.collection import parse_update_queues
from tests.plugins.qdrant import Qdrant

SMALL = {"model": "teal/hashing-svd-64", "dimensions": 64}
LARGE = {"model": "teal/hashing-svd-96", "dimensions": 96}
IN_FLIGHT = 2 * 32
"""Texts that may be sent and not answered at one time: parallelism times batch size."""
PROBES = 2
"""Texts that Teal may embed to see what an embedder answers."""
COMPARED = 64
"""Texts that a verification embeds anew: blue's, to see whether its encoder is what it was, and green's."""
NAME = "docs"
SECRET = "qdrant"
PATIENCE = 120.0
POLL_SECONDS = 0.1
UNLIMITED = 1_000_000

Predicate = Callable[[Manifest], bool]


def texts() -> tuple[Entry, ...]:
    """What a collection of documents holds. A function, because a process takes seconds to read the corpus."""
    return sample(400)


def few() -> tuple[Entry, ...]:
    return texts()[:60]


class Docs:
    """One declared collection of documents, its Qdrant, and the encoders that it names."""

    def __init__(
        self,
        qdrant: Qdrant,
        encoders: EmbeddingServer,
        alias: str,
        cluster: Cluster | None = None,
        *,
        name: str = NAME,
    ) -> None:
        self.qdrant = qdrant
        self.encoders = encoders
        self.alias = alias
        self.name = name
        self._cluster = cluster
        self.operators: list[Operator] = []
        self.embedding_set, self.collection = _manifests(qdrant, encoders, alias, name)

    # Declaring

    def edit(self, *, embedding_set: Manifest | None = None, collection: Manifest | None = None) -> None:
        """Merge changes into the two specs, as a commit would; nothing is applied yet. `None` removes a field."""
        _merge(self.embedding_set["spec"], embedding_set or {})
        _merge(self.collection["spec"], collection or {})

    def apply(self, *, embedding_set: Manifest | None = None, collection: Manifest | None = None) -> None:
        """Edit, and apply both manifests to the cluster, the EmbeddingSet first."""
        self.edit(embedding_set=embedding_set, collection=collection)
        self.cluster.apply([self.embedding_set, self.collection])

    def through(self, url: str, grpc_port: int) -> None:
        """Let Teal reach Qdrant by another address; clients keep the old one."""
        self.edit(collection={"qdrant": {"url": url, "grpcPort": grpc_port}})

    def declare(self) -> None:
        """Apply the manifests for the first time, with the Secret that they may refer to."""
        if self.qdrant.api_key:
            with suppress(ApiException):  # there already, for another test of the same namespace
                self.cluster.create_secret(SECRET, {"key": self.qdrant.api_key})
        self.apply()

    def withdraw(self) -> None:
        """Delete both resources; whatever holds their deletion up is taken away."""
        for kind in ("VectorCollection", "EmbeddingSet"):
            with suppress(NotFoundException):
                self.cluster.delete(kind, self.name)
                self.cluster.patch(kind, self.name, {"metadata": {"finalizers": None}})

    def manifests(self) -> str:
        """Both manifests, and the Secret, as a file that `teal apply -f` reads."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
        key = [secret | {"stringData": {"key": self.qdrant.api_key}}] if self.qdrant.api_key else []
        return yaml.safe_dump_all([*key, self.embedding_set, self.collection])

    # Looking at the resource

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise LookupError("this test declares without a cluster")
        return self._cluster

    def resource(self) -> Manifest:
        return self.cluster.get("VectorCollection", self.name)

    def status(self) -> Manifest:
        status: Manifest = self.resource().get("status") or {}
        return status

    def annotate(self, **annotations: str) -> None:
        """Set annotations `teal.dev/<name>`."""
        named = {f"teal.dev/{name}": value for name, value in annotations.items()}
        self.cluster.patch("VectorCollection", self.name, {"metadata": {"annotations": named}})

    def look_again(self) -> None:
        """Have the operator look at the resource once more, by an edit that changes nothing, and wait for it."""
        interval = self.collection["spec"]["watch"]["interval"]
        self.edit(collection={"watch": {"interval": "2s" if interval == "1s" else "1s"}})
        self.cluster.apply([self.collection])
        wanted = self.resource()["metadata"]["generation"]
        self.wait_for(lambda found: found["status"].get("observedGeneration") == wanted, what="looked at again")

    def events(self, reason: str | None = None) -> list[dict[str, Any]]:
        """The Events about the resource, oldest first."""
        found = self.cluster.events(self.resource()["metadata"]["uid"])
        return [event for event in found if reason in (None, event["reason"])]

    def wait_for(self, predicate: Predicate, seconds: float = PATIENCE, what: str = "") -> Manifest:
        """The resource as soon as `predicate` holds for it; on time-out an AssertionError that tells all."""
        deadline = time.monotonic() + seconds
        while not predicate(resource := self.resource()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what or 'as wanted'} after {seconds:.0f} s\n{self.story()}")
            for operator in self.operators[-1:]:
                operator.process.check()
            time.sleep(POLL_SECONDS)
        return resource

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait for something that is not in the resource."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def wait_gone(self, seconds: float = PATIENCE) -> None:
        """Wait until the VectorCollection is deleted."""
        with suppress(NotFoundException):
            self.wait_for(lambda _: False, seconds, "gone")

    def wait_ready(self, seconds: float = PATIENCE) -> Manifest:
        """The status once the resource is as declared now, and what was watched is over."""
        status: Manifest = self.wait_for(self.as_declared, seconds, "ready as declared")["status"]
        return status

    def wait_phase(self, *phases: str, seconds: float = PATIENCE) -> Manifest:
        """The resource once its phase is one of these."""
        return self.wait_for(lambda found: phase(found) in phases, seconds, f"in phase {' or '.join(phases)}")

    def as_declared(self, resource: Manifest) -> bool:
        """Ready, and about the specs of now: an EmbeddingSet's edit does not move the generation."""
        status = resource.get("status") or {}
        active = status.get("active") or {}
        spec = self.embedding_set["spec"]
        wanted = {name: spec[name] for name in ("dimensions", "distance", "schemaVersion")}
        return (
            is_true(resource, "Ready")
            and status["phase"] == "Ready"
            and status["observedGeneration"] == resource["metadata"]["generation"]
            and wanted == {name: active.get(name) for name in wanted}
        )

    def wait_condition(self, kind: str, reason: str, seconds: float = PATIENCE) -> Manifest:
        """The resource once its condition `kind` is True for this reason."""

        def holds(resource: Manifest) -> bool:
            return is_true(resource, kind) and condition(resource, kind)["reason"] == reason  # type: ignore[index]

        return self.wait_for(holds, seconds, f"{kind} for {reason}")

    def operator_runs(self) -> bool:
        """Whether the operator that was started last still runs."""
        return self.operators[-1].process.running

    def wipe_status(self) -> None:
        """Remove all of the status, as a restore from Git does."""
        status = dict.fromkeys(self.status())
        self.cluster.patch("VectorCollection", self.name, {"status": status}, status=True)

    def story(self) -> str:
        """Everything that may say why something did not happen."""
        logs = [f"--- operator {each.process.pid}\n{each.process.tail(40)}" for each in self.operators[-2:]]
        return "\n".join([self.cluster.describe("VectorCollection", self.name), *logs])

    # Looking at Qdrant

    @contextmanager
    def http(self) -> Iterator[httpx.Client]:
        with self.qdrant.client() as client:
            yield client

    def aliases(self) -> dict[str, str]:
        """The aliases that begin with ours: alias → collection."""
        with self.http() as client:
            found = client.get("/aliases").raise_for_status().json()["result"]["aliases"]
        return {a["alias_name"]: a["collection_name"] for a in found if a["alias_name"].startswith(self.alias)}

    def collections(self) -> set[str]:
        """The physical collections whose names begin with our alias."""
        with self.http() as client:
            found = client.get("/collections").raise_for_status().json()["result"]["collections"]
        return {each["name"] for each in found if each["name"].startswith(self.alias)}

    def version(self, schema_version: str) -> str:
        """The physical collection of a schema version."""
        (found,) = [name for name in self.collections() if name.startswith(f"{self.alias}-{schema_version}-")]
        return found

    def stage(self, schema_version: str) -> str:
        """The stage that a collection's mark shows."""
        return str(self.marks(self.version(schema_version))["migration"]["stage"])

    def info(self, collection: str) -> dict[str, Any]:
        """`GET /collections/<collection>`."""
        with self.http() as client:
            found: dict[str, Any] = client.get(f"/collections/{collection}").raise_for_status().json()["result"]
        return found

    def count(self, collection: str) -> int:
        """How many points it has, exactly; 0 while it does not exist."""
        with self.http() as client:
            answer = client.post(f"/collections/{collection}/points/count", json={"exact": True})
        return int(answer.json()["result"]["count"]) if answer.is_success else 0

    def marks(self, collection: str) -> dict[str, Any]:
        """Teal's marks on a collection, without their prefix; removed ones are not there."""
        metadata = self.info(collection)["config"].get("metadata") or {}
        return {key.removeprefix("teal.dev/"): value for key, value in metadata.items() if value is not None}

    def truth(self, *collections: str) -> dict[str, Any]:
        """What Qdrant holds of ours, to see that nothing is touched: aliases, configuration, counts, logs.

        With `collections` only those (which need not begin with our alias), and the aliases that point at them.
        """
        names = collections or tuple(sorted(self.collections()))
        with self.http() as client:
            aliases = client.get("/aliases").raise_for_status().json()["result"]["aliases"]
            told = client.get("/telemetry", params={"details_level": 3}).raise_for_status().json()["result"]
        return {
            "aliases": {a["alias_name"]: a["collection_name"] for a in aliases if a["collection_name"] in names},
            "collections": {name: self._held(name) for name in names},
            "logs": {name: parse_update_queues(name, "", told) for name in names},
        }

    def _held(self, collection: str) -> dict[str, Any]:
        info = self.info(collection)
        return {key: info[key] for key in ("config", "points_count", "payload_schema")}

    def no_fence(self) -> None:
        """Nobody's writes are held back, nor will be."""
        for name in self.collections():
            limits = self.info(name)["config"].get("strict_mode_config") or {}
            assert "fence" not in self.marks(name)
            assert (limits.get("write_rate_limit") or UNLIMITED) >= UNLIMITED, limits

    def load(self, entries: tuple[Entry, ...] | None = None, collection: str | None = None) -> Ledger:
        """Fill the collection behind the alias (or another), by the encoder that it names."""
        return load(self.qdrant.url, collection or self.alias, entries or texts(), api_key=self.qdrant.api_key)

    def audit(self, ledger: Ledger, collection: str | None = None) -> Audit:
        """Compare the collection behind the alias (or another) with what clients were acknowledged."""
        return audit(self.qdrant.url, collection or self.alias, ledger, api_key=self.qdrant.api_key)

    def clients(self, ledger: Ledger, **workload: Any) -> Clients:
        """Counting clients on the alias; a context manager."""
        chosen = {"entries": texts(), **workload}
        return Clients.start(
            Workload(url=self.qdrant.url, alias=self.alias, api_key=self.qdrant.api_key, **chosen), ledger
        )


def ended_once(docs: Docs, applied: list[str], ledger: Ledger) -> None:
    """The migration to v2 ended right, and was one: made once, nothing lost, and nothing lying about."""
    status = docs.wait_ready()
    assert docs.audit(ledger).ok
    assert applied.count("create v2") == 1
    active, retained = status["active"]["collection"], [row["collection"] for row in status["retained"]]
    assert docs.aliases()[docs.alias] == active
    assert docs.collections() == {active, *retained}
    assert len(retained) == 1
    docs.no_fence()


@contextmanager
def unharmed(docs: Docs) -> Iterator[str]:
    """What serves is the same before and after, and serves; its name."""
    serving = docs.aliases()[docs.alias]
    before = docs.truth(serving)
    yield serving
    assert docs.truth(serving) == before
    assert docs.aliases()[docs.alias] == serving


def phase(resource: Manifest) -> str:
    return str((resource.get("status") or {}).get("phase", ""))


def condition(resource: Manifest, kind: str) -> Manifest | None:
    """One condition of a resource; `None` if it has none of this type."""
    found = (resource.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), None)


def is_true(resource: Manifest, kind: str) -> bool:
    found = condition(resource, kind)
    return found is not None and found["status"] == "True"


def _merge(into: Manifest, changes: Manifest) -> None:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = copy.deepcopy(value)


def _manifests(qdrant: Qdrant, encoders: EmbeddingServer, alias: str, name: str) -> tuple[Manifest, Manifest]:
    """Short waits everywhere: what takes hours in production must be over in seconds here."""
    embedding_set = {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "EmbeddingSet",
        "metadata": {"name": name},
        "spec": {
            "schemaVersion": "v1",
            **SMALL,
            "distance": "Euclid",
            "embedder": {"openAI": {"url": encoders.url, "batchSize": 32, "parallelism": 2}},
            "source": {"collection": {"textField": "text"}},
        },
    }
    where: Manifest = {"url": qdrant.url, "grpcPort": qdrant.grpc_port}
    if qdrant.api_key:
        where["apiKeySecretRef"] = {"name": SECRET, "key": "key"}
    collection = {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "VectorCollection",
        "metadata": {"name": name},
        "spec": {
            "qdrant": where,
            "alias": alias,
            "embeddingSetRef": {"name": name},
            "hnsw": {"m": 8, "efConstruct": 32},
            "payloadIndexes": [{"field": "module", "type": "keyword"}],
            "migration": {
                "throttle": {"maxReadLatencyMillis": 5000},
                "promotion": {"quietWait": "1s", "maxFence": "5s"},
            },
            "watch": {"duration": "1s", "interval": "1s", "maxLatencyRatio": 100},
            "retention": {"keepFor": "1h"},
        },
    }
    return embedding_set, collection
