"""The main job: change what is declared, and readers and writers who never pause notice nothing.

The clients count everything that they are answered; afterwards every point is compared with what they were
acknowledged. That they find something if there is something to find is proved elsewhere; that they find nothing
without a migration is the first test here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from devkit.clients import Clients, Counts, Ledger
from devkit.cluster import Manifest
from tests.e2e.support import COMPARED, LARGE, NAME, PROBES, SMALL, Docs, condition, is_true, texts
from tests.plugins.operator import StartOperator

BUSY = 40
ORDER = [
    "Populating",
    "CatchingUp",
    "Indexing",
    "Verifying",
    "AwaitingPromotion",
    "Promoting",
    "Watching",
    "Ready",
]


@dataclass(frozen=True)
class Change:
    """What was seen of one change: the status after it, and every version of the resource on the way."""

    status: Manifest
    versions: list[Manifest]
    embedded: int

    @property
    def migration(self) -> Manifest:
        migration: Manifest = self.status["migration"]
        return migration

    def seen(self, *path: str) -> list[Any]:
        """The value at `path` in each version's status that had one."""
        return [value for version in self.versions if (value := _dig(version.get("status"), path)) is not None]


def looked(url: str) -> int:
    """How often the operator has looked at VectorCollections and found nothing to write."""
    sample = 'teal_reconciles_total{kind="VectorCollection",outcome="unchanged"} '
    lines = httpx.get(f"{url}/metrics").raise_for_status().text.splitlines()
    return sum(int(float(line.removeprefix(sample))) for line in lines if line.startswith(sample))


def _dig(found: Any, path: Iterable[str]) -> Any:
    for name in path:
        found = (found or {}).get(name)
    return found


def change(docs: Docs, clients: Clients, **edits: Manifest) -> Change:
    """Apply edits under load, wait until they are carried out, and see that the clients go on."""
    since, before = docs.resource()["metadata"]["resourceVersion"], docs.encoders.calls("teal")
    more(clients)
    docs.apply(**edits)
    status = docs.wait_ready()
    more(clients)
    versions = docs.cluster.versions("VectorCollection", NAME, since)
    return Change(status, versions, docs.encoders.calls("teal").texts - before.texts)


def more(clients: Clients) -> None:
    """Wait until the clients have done some more of everything."""
    reads, writes = clients.counts().reads, clients.counts().all_writes
    clients.wait_until(lambda now: now.reads > reads + BUSY and now.all_writes > writes + BUSY)


def nothing_noticed(docs: Docs, counts: Counts, ledger: Ledger, *, encoders: int = 1, unsure: int = 0) -> None:
    """No failed read, no lost, resurrected or unexpected point; writers met nothing but 429.

    `encoders`: how many the alias served one after the other; each new one refuses what the old one made.
    """
    assert counts.failures == 0, counts.errors
    assert counts.unknown == 0
    assert (counts.reencoded > 0) is (encoders > 1)
    found = docs.audit(ledger)
    assert found.ok, found
    assert found.points == len(ledger.points)
    assert found.unsure == unsure
    assert found.vectors > 0


def without_bare_vectors(ledger: Ledger, schema_version: str) -> int:
    """Leave out points whose vector was last written alone, and with this revision's encoder; returns how many.

    That vector cannot go back to another encoder. The point gets its text's there, or keeps the one that it had,
    which the application may have written alone as well: a version does not tell what of a point was changed.
    """
    bare = [
        point
        for point, held in ledger.points.items()
        if held.vector_of != held.payload["text"] and f"@{schema_version}/" in held.encoder
    ]
    for point in bare:
        ledger.doubt(point)
    return len(bare)


def one_serves(docs: Docs, status: Manifest, retained: int) -> None:
    """Qdrant holds what status says, and nothing else."""
    active, kept = status["active"], [row["collection"] for row in status.get("retained", ())]
    assert docs.aliases()[docs.alias] == active["collection"]
    assert f"{docs.alias}-next" not in docs.aliases()
    assert docs.collections() == {active["collection"], *kept}
    assert len(kept) == retained
    docs.no_fence()


def was_safe(made: Change) -> None:
    """The proof that no write was missed, in status: no `op_num` had moved but by Teal's barriers."""
    writes = made.migration["writes"]
    assert writes["mode"] == "CatchUp"
    assert writes["passes"] > 1
    cutover = writes["cutOver"]
    assert cutover["lateWrites"] == 0 or not cutover["proved"]
    if cutover["switch"] == "Fenced":
        assert cutover["proved"]
        assert 0 < cutover["fenceMillis"] <= 5000


def told_before(docs: Docs, made: Change, points: int) -> None:
    """What it will cost stood in status and in an Event before the first point moved."""
    phases = made.seen("phase")
    first = phases.index("Populating")
    shown = [version["status"] for version in made.versions[: first + 1] if "status" in version]
    forecasts = [status["forecast"] for status in shown if "forecast" in status]
    assert forecasts
    assert forecasts[0]["points"] >= points * 0.8
    assert forecasts[0]["bytes"] > 0
    assert not any(_dig(status, ("migration", "progress", "pointsDone")) for status in shown[:-1])
    reasons = [event["reason"] for event in docs.events()]
    last = len(reasons) - 1 - reasons[::-1].index("Populated")
    assert "MigrationForecast" in reasons[:last]
    populated = docs.events("Populated")[-1]["at"]
    assert docs.events("MigrationForecast")[-1]["at"] < populated


def went_forward(made: Change) -> None:
    """Progress never went back, and phases came in their order."""
    done = made.seen("migration", "progress", "pointsDone")
    assert done == sorted(done)
    assert done[-1] == made.migration["progress"]["pointsTotal"]
    phases = made.seen("phase")
    ranks = [ORDER.index(phase) for phase in phases[phases.index(ORDER[0]) :]]
    assert ranks == sorted(ranks)
    assert not made.seen("migration", "lastError")
    assert not any(is_true(version, "Stalled") for version in made.versions)
    assert not any(condition(version, "Available")["status"] == "False" for version in made.versions)  # type: ignore[index]


def recorded(docs: Docs, made: Change, old: str) -> None:
    """What served before is retained and in the history, once."""
    new = made.status["active"]["collection"]
    (entry,) = [row for row in made.status["history"] if row["to"] == new]
    assert (entry["from"], entry["outcome"]) == (old, "Promoted")
    assert old in [row["collection"] for row in made.status["retained"]]
    replaced = docs.marks(old)["replaced"]
    assert replaced["by"] == new


def test_without_a_migration(serving: Docs) -> None:
    ledger = serving.load()
    with serving.clients(ledger) as clients:
        more(clients)
        more(clients)
    nothing_noticed(serving, clients.counts(), clients.ledger)
    assert clients.counts().throttled == 0
    one_serves(serving, serving.status(), retained=0)


def test_a_change_in_place(serving: Docs) -> None:
    ledger = serving.load()
    before = serving.status()["active"]
    with serving.clients(ledger) as clients:
        made = change(
            serving,
            clients,
            collection={
                "hnsw": {"m": 12},
                "payloadIndexes": [{"field": "source", "type": "keyword"}, {"field": "n", "type": "integer"}],
                "strictMode": {"enabled": True, "maxQueryLimit": 1000},
            },
        )
    nothing_noticed(serving, clients.counts(), clients.ledger)
    assert clients.counts().throttled == 0
    one_serves(serving, made.status, retained=0)
    assert made.status["active"] | {"points": 0} == before | {"points": 0}
    assert "migration" not in made.status
    info = serving.info(before["collection"])
    assert info["config"]["hnsw_config"]["m"] == 12
    assert info["config"]["strict_mode_config"]["max_query_limit"] == 1000
    assert set(info["payload_schema"]) == {"source", "n"}
    assert len(serving.events("ChangedInPlace")) == 1
    assert made.embedded == 0


def test_same_encoder_other_distance(serving: Docs) -> None:
    ledger = serving.load()
    old = serving.status()["active"]["collection"]
    with serving.clients(ledger) as clients:
        made = change(serving, clients, embedding_set={"distance": "Cosine"})
    nothing_noticed(serving, clients.counts(), clients.ledger)
    one_serves(serving, made.status, retained=1)
    told_before(serving, made, len(texts()))
    went_forward(made)
    was_safe(made)
    recorded(serving, made, old)
    assert made.status["active"]["distance"] == "Cosine"
    assert made.migration["writes"]["caughtUp"] > 0
    assert made.embedded <= PROBES + COMPARED


def test_another_encoder_and_back(serving: Docs) -> None:
    ledger = serving.load()
    old = serving.status()["active"]["collection"]
    with serving.clients(ledger) as clients:
        made = change(serving, clients, embedding_set={**LARGE, "schemaVersion": "v2"})
    nothing_noticed(serving, clients.counts(), clients.ledger, encoders=2)
    one_serves(serving, made.status, retained=1)
    told_before(serving, made, len(texts()))
    went_forward(made)
    was_safe(made)
    recorded(serving, made, old)
    assert made.status["active"]["dimensions"] == LARGE["dimensions"]
    assert made.status["active"]["schemaVersion"] == "v2"
    # The clients draw from the same texts, however often: each of them is paid for at most once.
    assert len(texts()) / 2 <= made.embedded <= len(texts()) + PROBES + COMPARED

    new = made.status["active"]["collection"]
    with serving.clients(clients.ledger) as returning:
        back = change(serving, returning, embedding_set={**SMALL, "schemaVersion": "v1"})
    unsure = without_bare_vectors(returning.ledger, "v2")
    assert unsure < len(returning.ledger.points) / 5
    nothing_noticed(serving, returning.counts(), returning.ledger, encoders=2, unsure=unsure)
    one_serves(serving, back.status, retained=1)
    assert back.status["active"]["collection"] == old
    assert [row["collection"] for row in back.status["retained"]] == [new]
    assert "Populating" not in back.seen("phase")
    assert "RollingBack" in back.seen("phase")
    assert (
        back.status["history"][0] | {"outcome": "RolledBack", "from": new, "to": old} == back.status["history"][0]
    )
    changed = returning.counts().all_writes + clients.counts().all_writes
    assert back.embedded <= min(changed, len(texts())) + PROBES + COMPARED


def test_at_rest_nothing_is_written(docs: Docs, operator: StartOperator) -> None:
    docs.declare()
    looking = operator("--resync", "1")
    docs.wait_ready()
    before = looked(looking.url)
    touched = docs.cluster.patch("VectorCollection", NAME, {"metadata": {"labels": {"touched": "yes"}}})
    docs.wait_for(lambda _: looked(looking.url) >= before + 4, what="looked at again")
    after = docs.resource()
    assert after["metadata"]["resourceVersion"] == touched["metadata"]["resourceVersion"]
    assert docs.as_declared(after)
