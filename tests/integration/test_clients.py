"""The counting clients prove themselves: without a migration they find nothing, and whatever is lost they find."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from devkit import corpus
from devkit.clients import Audit, Clients, Counts, Encoder, Ledger, Workload, audit, hashed, load
from devkit.clients.encoding import METADATA_KEY, embed
from devkit.clients.operations import WEIGHTS
from devkit.embeddings import EmbeddingServer
from devkit.processes import ProcessFailedError
from tests.plugins.qdrant import Qdrant

BLUE_DIMENSIONS = 8
MODEL = "teal/hashing-svd-32"
GREEN_DIMENSIONS = 32
KINDS = set(WEIGHTS)


def entries() -> tuple[corpus.Entry, ...]:
    return corpus.sample(120)


class Stage:
    """A collection behind an alias, loaded with the corpus."""

    def __init__(self, qdrant: Qdrant, client: httpx.Client, alias: str) -> None:
        self.qdrant = qdrant
        self.client = client
        self.alias = alias
        self.blue = f"{alias}-blue"
        self.create(self.blue, BLUE_DIMENSIONS)
        self.point_alias_at(self.blue)
        self.ledger = load(qdrant.url, alias, entries(), api_key=qdrant.api_key)

    def create(self, name: str, dimensions: int, metadata: dict[str, Any] | None = None) -> None:
        body = {"vectors": {"size": dimensions, "distance": "Cosine"}, "metadata": metadata or {}}
        self.client.put(f"/collections/{name}", json=body).raise_for_status()

    def point_alias_at(self, name: str) -> None:
        action = {"create_alias": {"alias_name": self.alias, "collection_name": name}}
        self.client.post("/collections/aliases", json={"actions": [action]}).raise_for_status()

    def workload(self, **options: Any) -> Workload:
        options = {"entries": entries(), "reads_per_second": 50, "writes_per_second": 50} | options
        return Workload(url=self.qdrant.url, alias=self.alias, api_key=self.qdrant.api_key, **options)

    def audit(self, ledger: Ledger, **options: Any) -> Audit:
        return audit(self.qdrant.url, self.alias, ledger, api_key=self.qdrant.api_key, **options)

    def points(self) -> list[dict[str, Any]]:
        body = {"limit": 100_000, "with_payload": True, "with_vector": True}
        answer = self.client.post(f"/collections/{self.blue}/points/scroll", json=body).raise_for_status()
        points: list[dict[str, Any]] = answer.json()["result"]["points"]
        return points

    def write(self, method: str, path: str, body: dict[str, Any]) -> None:
        self.client.request(method, f"/collections/{self.alias}{path}?wait=true", json=body).raise_for_status()


@pytest.fixture
def stage(qdrant: Qdrant, prefix: str) -> Iterator[Stage]:
    with qdrant.client() as client:
        yield Stage(qdrant, client, f"{prefix}docs")


def worked(counts: Counts) -> bool:
    return counts.reads >= 50 and counts.all_writes >= 60 and set(counts.writes) == KINDS


def test_without_a_migration_nothing_is_lost(stage: Stage) -> None:
    with Clients.start(stage.workload(), stage.ledger) as clients:
        clients.wait_until(worked)
    counts = clients.counts()
    assert counts.failures == 0, counts
    assert (counts.throttled, counts.unknown, counts.reencoded) == (0, 0, 0)
    assert counts.longest_stall_millis > 0
    assert counts.longest_read_millis > 0
    report = stage.audit(clients.ledger)
    assert report.ok, report
    assert report.points == report.vectors == len(stage.points()) == len(clients.ledger.points)
    assert clients.ledger.deleted
    assert clients.ledger.points != stage.ledger.points


def test_clients_go_on_where_others_stopped(stage: Stage) -> None:
    ledger = stage.ledger
    for seed, writers in enumerate((1, 3)):
        with Clients.start(stage.workload(readers=1, writers=writers, seed=seed), ledger) as clients:
            clients.wait_until(lambda counts: counts.all_writes >= 40)
        assert clients.counts().failures == 0
        ledger = clients.ledger
    assert stage.audit(ledger).ok


def damage_lost(stage: Stage, point: Any) -> None:
    stage.write("POST", "/points/delete", {"points": [point]})


def damage_payload(stage: Stage, point: Any) -> None:
    stage.write("POST", "/points/payload", {"points": [point], "payload": {"n": -5}})


def damage_payload_key(stage: Stage, point: Any) -> None:
    stage.write("POST", "/points/payload/delete", {"points": [point], "keys": ["module"]})


def damage_vector(stage: Stage, point: Any) -> None:
    vector = hashed(Encoder(None, None, BLUE_DIMENSIONS, None), ["another text"])[0].tolist()
    stage.write("PUT", "/points/vectors", {"points": [{"id": point, "vector": vector}]})


@pytest.mark.parametrize("position", [0, 3], ids=["integer", "uuid"])
@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (damage_lost, "lost"),
        (damage_payload, "wrong_payload"),
        (damage_payload_key, "wrong_payload"),
        (damage_vector, "wrong_vector"),
    ],
)
def test_what_happens_behind_the_ledgers_back_is_found(
    stage: Stage, damage: Callable[[Stage, Any], None], what: str, position: int
) -> None:
    assert stage.audit(stage.ledger).ok
    point = list(stage.ledger.points)[position]
    damage(stage, point)
    report = stage.audit(stage.ledger)
    assert not report.ok
    assert report.lost_writes == 1
    assert report.samples == {what: [point]}


def test_points_that_came_back_or_from_nowhere_are_found(stage: Stage) -> None:
    first, second, *_ = stage.ledger.points
    stage.ledger.delete(first)
    del stage.ledger.points[second]
    report = stage.audit(stage.ledger)
    assert (report.resurrected, report.unexpected, report.lost_writes) == (1, 1, 1)
    assert report.samples == {"resurrected": [first], "unexpected": [second]}
    assert not report.ok


def test_a_vector_of_another_length_is_found_only_where_lengths_are_kept(stage: Stage) -> None:
    assert stage.audit(stage.ledger, directions=True).ok
    report = stage.audit(stage.ledger, directions=False)
    assert report.wrong_vector == report.vectors == len(entries())


def test_a_lost_answer_is_not_a_lost_write(stage: Stage) -> None:
    embedded = stage.qdrant.need_faults()
    name = rf"/collections/{stage.alias}"
    for method, path in (("PUT", "points"), ("POST", "points/delete"), ("POST", "points/payload")):
        for when in ("before", "after"):
            embedded.faults(match=f"{method} {name}/{path}", when=when, drop=True, times=3)
    with Clients.start(stage.workload(readers=0), stage.ledger) as clients:
        clients.wait_until(lambda counts: counts.unknown >= 18 and counts.all_writes >= 60)
    assert clients.counts().failures == 0
    assert stage.audit(clients.ledger).ok


def test_every_other_error_is_a_failure_and_is_shown(stage: Stage) -> None:
    embedded = stage.qdrant.need_faults()
    embedded.faults(match=f"PUT /collections/{stage.alias}/points", status=500, error="broken disk", times=2)
    embedded.faults(
        match=f"POST /collections/{stage.alias}/points/query", status=500, error="broken index", times=3
    )
    embedded.faults(match=f"POST /collections/{stage.alias}/points/query", drop=True, times=1)
    with Clients.start(stage.workload(), stage.ledger) as clients:
        clients.wait_until(
            lambda counts: counts.failed_writes >= 2 and counts.failed_reads >= 4 and worked(counts)
        )
    counts = clients.counts()
    assert (counts.failed_writes, counts.failed_reads, counts.failures) == (2, 4, 6)
    assert sum(count for text, count in counts.errors.items() if "broken disk" in text) == 2
    assert sum(count for text, count in counts.errors.items() if "broken index" in text) == 3
    assert len(clients.ledger.unsure) == 2
    assert stage.audit(clients.ledger).ok


def test_a_write_that_is_never_acknowledged_is_a_failure(stage: Stage) -> None:
    embedded = stage.qdrant.need_faults()
    embedded.faults(match=f"[A-Z]+ /collections/{stage.alias}/points.*", drop=True, times=0)
    workload = stage.workload(readers=0, writers=1, patience=0.3)
    with Clients.start(workload, stage.ledger) as clients:
        clients.wait_until(lambda counts: counts.failed_writes >= 1)
        embedded.faults()
        clients.wait_until(lambda counts: counts.all_writes >= 10)
    counts = clients.counts()
    assert any("not acknowledged after 0.3 s" in text for text in counts.errors)
    assert len(clients.ledger.unsure) == counts.failed_writes


def test_an_empty_answer_is_a_failure(stage: Stage) -> None:
    stage.create(f"{stage.alias}-empty", BLUE_DIMENSIONS)
    stage.point_alias_at(f"{stage.alias}-empty")
    with Clients.start(stage.workload(writers=0), Ledger()) as clients:
        clients.wait_until(lambda counts: counts.reads >= 5)
    counts = clients.counts()
    assert counts.empty_reads == counts.reads == counts.failures


def test_a_cutover_to_another_encoder_behind_a_fence(stage: Stage) -> None:
    """A migration in small, by hand: hold writers back, embed everything anew, and cut over."""
    with EmbeddingServer.start(models=[MODEL]) as embedder:
        encoder = Encoder(MODEL, "v2", GREEN_DIMENSIONS, embedder.url)
        with Clients.start(stage.workload(), stage.ledger) as clients:
            clients.wait_until(worked)
            fence = {"strict_mode_config": {"enabled": True, "write_rate_limit": 1}}
            stage.client.patch(f"/collections/{stage.blue}", json=fence).raise_for_status()
            held_back(clients)
            stage.point_alias_at(embedded_anew(stage, encoder))
            before = clients.counts()
            clients.wait_until(lambda counts: counts.all_writes >= before.all_writes + 60)
            clients.wait_until(lambda counts: counts.reads >= before.reads + 50)
        counts = clients.counts()
        assert counts.failures == 0, counts
        assert counts.throttled > 0
        assert 1 <= counts.reencoded <= 4  # at most one request of each client was on its way
        encoders = {held.encoder for held in clients.ledger.points.values()}
        assert encoders == {f"hash/{BLUE_DIMENSIONS}", encoder.key}
        report = stage.audit(clients.ledger, sample=1000)
        assert report.ok, report
        assert report.vectors == report.points
        assert stage.audit(clients.ledger, sample=10).vectors == 10


def held_back(clients: Clients) -> None:
    """Return when all writers have been told to wait, so that nothing changes any more."""
    acknowledged, throttled = -1, 0
    while (counts := clients.counts()).all_writes != acknowledged or counts.throttled < throttled:
        acknowledged, throttled = counts.all_writes, counts.throttled + 10
        time.sleep(1)


def embedded_anew(stage: Stage, encoder: Encoder) -> str:
    """Copy blue, with the vectors that `encoder` makes of the texts, and return the copy's name."""
    green = f"{stage.alias}-green"
    named = {
        "model": encoder.model,
        "schemaVersion": encoder.schema_version,
        "dimensions": encoder.dimensions,
        "url": encoder.url,
    }
    stage.create(green, GREEN_DIMENSIONS, {METADATA_KEY: named})
    points = stage.points()
    with httpx.Client() as client:
        vectors = embed(client, encoder, [point["payload"]["text"] for point in points])
    for point, vector in zip(points, vectors, strict=True):
        point["vector"] = vector.tolist()
    stage.client.put(f"/collections/{green}/points?wait=true", json={"points": points}).raise_for_status()
    return green


def test_clients_that_break_say_so(stage: Stage) -> None:
    clients = Clients.start(stage.workload(), stage.ledger)
    with pytest.raises(RuntimeError, match="only when the clients have stopped"):
        _ = clients.ledger
    os.kill(clients.pid, signal.SIGKILL)
    with pytest.raises(ProcessFailedError, match="clients ended with -9"):
        clients.wait_until(lambda _: False)
    with pytest.raises(ProcessFailedError, match="clients ended with -9"):
        clients.stop()
    clients.close()
