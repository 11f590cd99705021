"""`make demo`: declare a collection, change it three times, and count what readers and writers notice."""

from __future__ import annotations

import json
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

import httpx

from devkit.clients import Audit, Clients, Counts, Ledger, Workload, audit, load
from devkit.clients.encoding import Encoder, embed
from devkit.control_plane.report import Report
from devkit.corpus import sample
from devkit.demo import story
from devkit.demo.outcome import Outcome, served
from devkit.demo.screen import Screen, clients
from devkit.demo.stage import Stage
from devkit.demo.story import ALIAS, EMBEDDING_SET, Commit
from devkit.embeddings import HASHING, MINILM
from devkit.embeddings.initial import vectors_of

TEXTS = 2400
CLIENT_TEXTS = 300
WARM_UP_SECONDS = 3.0
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.25
QUESTION = "wait until several tasks have finished"


class Demo:
    """One run of the story on a stage."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._outcome = Outcome()
        self._events_shown = 0

    def run(self) -> int:
        """Play it all; the exit status."""
        stage, screen = self._stage, self._screen
        stage.start_operator()
        commit = story.first(stage.cluster.namespace, stage.spec, stage.embedder.url)
        ledger = self._begin(commit)
        entries = sample(CLIENT_TEXTS)
        workload = Workload(url=stage.url, alias=ALIAS, entries=entries, api_key=stage.api_key)
        with Clients.start(workload, ledger) as crowd:
            screen.console.print(
                f"{workload.readers} readers and {workload.writers} writers use {ALIAS!r} from now on."
            )
            crowd.wait_until(lambda counts: counts.reads > 20 and counts.all_writes > 20)
            time.sleep(WARM_UP_SECONDS)
            self._outcome.before = served(self._status(), HASHING)
            for change in story.changes(commit):
                self._change(change, crowd)
            time.sleep(WARM_UP_SECONDS)
            counts = crowd.stop()
            screen.title("Comparing every point with what the clients were acknowledged")
            found = audit(stage.url, ALIAS, crowd.ledger, api_key=stage.api_key)
        self._outcome.after = served(self._status(), MINILM)
        return self._close(counts, found)

    def _begin(self, commit: Commit) -> Ledger:
        """The first revision, and the corpus in it."""
        stage, screen = self._stage, self._screen
        screen.title(commit.message)
        entries = sample(TEXTS)
        texts = [entry.text for entry in entries]
        vectors = vectors_of(stage.embedder.url, HASHING, texts)
        stage.cluster.apply(commit.manifests)
        self._wait(None)
        ledger = load(stage.url, ALIAS, entries, vectors, api_key=stage.api_key)
        self._show_events()
        screen.console.print(f"Loaded {len(entries):,} docstrings of the standard library, embedded by {HASHING}.")
        return ledger

    def _change(self, commit: Commit, crowd: Clients) -> None:
        self._screen.commit(commit)
        began = time.monotonic()
        self._stage.cluster.apply(commit.manifests)
        status = self._wait(crowd)
        self._outcome.add(status, time.monotonic() - began)
        self._show_events()
        self._screen.console.print(
            f"  done in {time.monotonic() - began:.1f} s: {clients(crowd.counts())}", soft_wrap=True
        )

    def _wait(self, crowd: Clients | None) -> dict[str, Any]:
        """Until the resource is as declared, and watched; shows what happens meanwhile."""
        began = time.monotonic()
        with self._screen.live() as live:
            while True:
                self._stage.operator.check()
                resource = self._stage.cluster.get("VectorCollection", ALIAS)
                status = resource.get("status") or {}
                if crowd:
                    self._screen.update(live, status, crowd.counts(), time.monotonic() - began)
                if self._settled(resource):
                    return status
                stalled = [c for c in status.get("conditions") or () if c["type"] == "Stalled"]
                if stalled or time.monotonic() - began > PATIENCE_SECONDS:
                    raise RuntimeError(f"the resource is not ready: {json.dumps(status, indent=1)}")
                time.sleep(POLL_SECONDS)

    def _settled(self, resource: dict[str, Any]) -> bool:
        """As `kubectl wait` sees it, and really about the EmbeddingSet as it is now."""
        status = resource.get("status") or {}
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        seen = status.get("observedGeneration") == resource["metadata"]["generation"]
        declared = self._stage.cluster.get("EmbeddingSet", EMBEDDING_SET)["spec"]
        active = status.get("active") or {}
        wanted = {name: declared[name] for name in ("dimensions", "distance", "schemaVersion")}
        as_declared = wanted == {name: active.get(name) for name in wanted}
        return ready and seen and as_declared and status["phase"] == "Ready"

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._stage.cluster.get("VectorCollection", ALIAS)["status"]
        return status

    def _show_events(self) -> None:
        uid = self._stage.cluster.get("VectorCollection", ALIAS)["metadata"]["uid"]
        events = self._stage.cluster.events(uid)
        for event in events[self._events_shown :]:
            self._screen.event(event)
        self._events_shown = len(events)

    def _close(self, counts: Counts, found: Audit) -> int:
        screen, stage = self._screen, self._stage
        screen.title(f"kubectl describe vectorcollection {ALIAS}")
        screen.console.print(stage.cluster.describe("VectorCollection", ALIAS), markup=False)
        screen.title(f"A search: {QUESTION!r}")
        self._search()
        good = found.ok and not counts.failures
        if not good:
            screen.console.print(f"errors: {dict(counts.errors)}; differences: {found}", style="red")
        print(json.dumps(self._outcome.as_json(counts, found)), flush=True)
        return 0 if good else 1

    def _search(self) -> None:
        with self._stage.qdrant() as http, httpx.Client(timeout=60) as embedder:
            encoder = Encoder.of(http.get(f"/collections/{ALIAS}").raise_for_status().json()["result"])
            vector = embed(embedder, encoder, [QUESTION])[0].tolist()
            body = {"query": vector, "limit": 5, "with_payload": True}
            answer = http.post(f"/collections/{ALIAS}/points/query", json=body).raise_for_status().json()
        for point in answer["result"]["points"]:
            payload = point["payload"]
            self._screen.console.print(f"  {point['score']:.3f}  {payload['source']:<44} {payload['text'][:90]}")


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; 0 only if nothing failed and nothing was lost."""
    signal.signal(signal.SIGTERM, _interrupted)
    screen = Screen()
    try:
        with Stage(Report()) as stage:
            return Demo(stage, screen).run()
    except KeyboardInterrupt:
        screen.console.print("Interrupted; everything that was started has been stopped.", style="yellow")
        return 130


if __name__ == "__main__":
    sys.exit(main())
