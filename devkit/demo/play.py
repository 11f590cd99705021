"""The common part of every story: the first revision, clients that count all the time, and the verdict.

A story is a `Play` with an `act`: what is done to the resources, and to the servers, while the clients run.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import httpx

from devkit.clients import Audit, Clients, Counts, Ledger, Workload, audit, load
from devkit.clients.encoding import Encoder, embed
from devkit.corpus import sample
from devkit.demo import story
from devkit.demo.outcome import Outcome, served
from devkit.demo.screen import Screen, clients
from devkit.demo.stage import Stage
from devkit.demo.story import ALIAS, EMBEDDING_SET, Commit, Manifest
from devkit.embeddings import HASHING
from devkit.embeddings.initial import vectors_of

TEXTS = 2400
CLIENT_TEXTS = 300
WARM_UP_SECONDS = 3.0
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.25
QUESTION = "wait until several tasks have finished"


class Play(ABC):
    """One run of a story on a stage."""

    faults: ClassVar[bool] = False
    """Whether the story kills or slows down Qdrant, which only works with the embedded one."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self.stage = stage
        self.screen = screen
        self.outcome = Outcome()
        self._events_shown = 0

    @abstractmethod
    def first(self) -> Commit:
        """The resources as they are first applied."""

    @abstractmethod
    def act(self, commit: Commit, crowd: Clients) -> None:
        """Everything that happens while the clients use the alias."""

    def start_operators(self) -> None:
        self.stage.start_operator()

    def run(self) -> int:
        """Play the whole story; returns the exit status."""
        stage, screen = self.stage, self.screen
        self.start_operators()
        commit = self.first()
        ledger = self._begin(commit)
        workload = Workload(
            url=stage.url, alias=ALIAS, entries=sample(CLIENT_TEXTS), api_key=stage.api_key, patience=60.0
        )
        with Clients.start(workload, ledger) as crowd:
            screen.console.print(
                f"{workload.readers} readers and {workload.writers} writers use {ALIAS!r} from now on."
            )
            crowd.wait_until(lambda counts: counts.reads > 20 and counts.all_writes > 20)
            time.sleep(WARM_UP_SECONDS)
            self.outcome.before = served(self.status())
            self.act(commit, crowd)
            time.sleep(WARM_UP_SECONDS)
            counts = crowd.stop()
            screen.title("Comparing every point with what the clients were acknowledged")
            found = audit(stage.url, ALIAS, crowd.ledger, api_key=stage.api_key)
        self.outcome.after = served(self.status())
        return self._close(counts, found)

    def _begin(self, commit: Commit) -> Ledger:
        """The first revision, and the corpus in it."""
        stage, screen = self.stage, self.screen
        screen.title(commit.message)
        entries = sample(TEXTS)
        texts = [entry.text for entry in entries]
        vectors = vectors_of(stage.embedder.url, HASHING, texts)
        stage.cluster.apply(commit.manifests)
        self.wait(self.settled)
        ledger = load(stage.url, ALIAS, entries, vectors, api_key=stage.api_key)
        self.show_events()
        screen.console.print(f"Loaded {len(entries):,} docstrings of the standard library, embedded by {HASHING}.")
        return ledger

    def change(self, commit: Commit, crowd: Clients) -> None:
        """Apply a commit, and wait until the resource is as declared."""
        self.screen.commit(commit)
        began = time.monotonic()
        self.stage.cluster.apply(commit.manifests)
        status = self.wait(self.settled, crowd)
        self.outcome.add(status, time.monotonic() - began)
        self.show_events()
        self.screen.console.print(
            f"  done in {time.monotonic() - began:.1f} s: {clients(crowd.counts())}", soft_wrap=True
        )

    def wait(self, reached: Callable[[Manifest], bool], crowd: Clients | None = None) -> dict[str, Any]:
        """The status once the resource is as wanted; until then the screen shows its progress."""
        began = time.monotonic()
        with self.screen.live() as live:
            while True:
                self.meanwhile()
                resource = self.stage.cluster.get("VectorCollection", ALIAS)
                status: dict[str, Any] = resource.get("status") or {}
                if crowd:
                    self.screen.update(live, status, crowd.counts(), time.monotonic() - began)
                if reached(resource):
                    return status
                if self.hopeless(status) or time.monotonic() - began > PATIENCE_SECONDS:
                    raise RuntimeError(f"the resource is not ready: {json.dumps(status, indent=1)}")
                time.sleep(POLL_SECONDS)

    def meanwhile(self) -> None:
        """Called time and again while something is waited for."""
        for each in self.stage.operators:
            each.process.check()

    def hopeless(self, status: dict[str, Any]) -> bool:
        return any(each["type"] == "Stalled" for each in status.get("conditions") or ())

    def settled(self, resource: Manifest) -> bool:
        """As `kubectl wait` sees it, but really for the EmbeddingSet as it is now."""
        status = resource.get("status") or {}
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        seen = status.get("observedGeneration") == resource["metadata"]["generation"]
        declared = self.stage.cluster.get("EmbeddingSet", EMBEDDING_SET)["spec"]
        active = status.get("active") or {}
        wanted = {name: declared[name] for name in ("dimensions", "distance", "schemaVersion")}
        as_declared = wanted == {name: active.get(name) for name in wanted}
        return ready and seen and as_declared and status["phase"] == "Ready"

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.stage.cluster.get("VectorCollection", ALIAS)["status"]
        return status

    def show_events(self) -> None:
        """Those that were not shown before."""
        uid = self.stage.cluster.get("VectorCollection", ALIAS)["metadata"]["uid"]
        events = self.stage.cluster.events(uid)
        for event in events[self._events_shown :]:
            self.screen.event(event)
        self._events_shown = len(events)

    def blames(self, counts: Counts) -> int:
        """The number of failures of clients that Teal caused."""
        return counts.failures

    def _close(self, counts: Counts, found: Audit) -> int:
        screen, stage = self.screen, self.stage
        screen.title(f"kubectl describe vectorcollection {ALIAS}")
        screen.console.print(stage.cluster.describe("VectorCollection", ALIAS), markup=False)
        screen.title(f"A search: {QUESTION!r}")
        self._search()
        good = found.ok and not self.blames(counts)
        if not good:
            screen.console.print(f"errors: {dict(counts.errors)}; differences: {found}", style="red")
        print(json.dumps(self.outcome.as_json(counts, found)), flush=True)
        return 0 if good else 1

    def _search(self) -> None:
        with self.stage.qdrant() as http, httpx.Client(timeout=60) as embedder:
            encoder = Encoder.of(http.get(f"/collections/{ALIAS}").raise_for_status().json()["result"])
            vector = embed(embedder, encoder, [QUESTION])[0].tolist()
            body = {"query": vector, "limit": 5, "with_payload": True}
            answer = http.post(f"/collections/{ALIAS}/points/query", json=body).raise_for_status().json()
        for point in answer["result"]["points"]:
            payload = point["payload"]
            self.screen.console.print(f"  {point['score']:.3f}  {payload['source']:<44} {payload['text'][:90]}")


def first_commit(stage: Stage, **watch: str) -> Commit:
    """The resources on this stage; `watch` is merged into the spec's."""
    return story.first(stage.cluster.namespace, stage.spec, stage.embedder.url, watch)
