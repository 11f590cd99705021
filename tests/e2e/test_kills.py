"""Killed right after every effect that it has, a migration still ends right.

Right after one effect is, for Qdrant, right before the next one. Where the two differ, in what was paid to an
embedder, both are tried.

`teal apply` is the operator's engine in a process that is quick to start. It is killed at every effect that it
has on Qdrant, known by name, as they come up; each life begins where the last one was killed, until one gets
through without anything new. So the list of boundaries is the migration's own, and a new step is killed, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devkit.clients import Ledger
from devkit.control_plane import ControlPlane
from devkit.embeddings import EmbeddingServer
from tests.e2e.gate import BARRIER, Effect, Gate, When, named
from tests.e2e.lives import Life, Mother
from tests.e2e.support import COMPARED, LARGE, SMALL, Docs, ended_once, texts
from tests.plugins.operator import StartOperator
from tests.plugins.qdrant import Qdrant

ENOUGH_LIVES = 80
REPEATED = 2
BATCH = 32
STAGES = ["CatchingUp", "Indexing", "Verifying", "AwaitingPromotion", "Promoting", "Ready"]


class Lives:
    """`teal apply` on one collection of documents, through a gate, time and again."""

    def __init__(self, docs: Docs, gate: Gate, mother: Mother, folder: Path) -> None:
        self.docs = docs
        self.gate = gate
        self._mother = mother
        self._manifests = folder / "docs.yaml"
        self.log = folder / "log"

    def begin(self) -> Life:
        """A process that applies the manifests as they are now."""
        self._manifests.write_text(self.docs.manifests())
        self.log.unlink(missing_ok=True)
        return self._mother.bear(self.log, "apply", "-f", str(self._manifests), "--watch", "--timeout", "90")

    def through(self) -> None:
        """Apply once, from beginning to end."""
        self.gate.shut_at(lambda _: False)
        with self.begin() as life:
            assert life.wait() == 0, life.log.read_text()

    def killed_everywhere(self, when: When = "after", only: str = "") -> list[str]:
        """Apply until a life gets through; the names of the effects at which the others were killed, in order.

        `only`: what the names must begin with.
        """
        deaths: list[str] = []
        while True:
            self.gate.shut_at(_next_death(when, Counter(deaths), only))
            met = self._live()
            if met is None:
                return deaths
            deaths.append(met.name)
            assert len(deaths) < ENOUGH_LIVES, deaths

    def next_effect(self) -> Effect | None:
        """What another life would do; `None` at rest. (To compare both sides begins with barriers.)"""
        self.gate.shut_at(lambda effect: not effect.name.startswith(BARRIER))
        return self._live()

    def doubtful(self) -> list[int | str]:
        """What the last life says to decide: a life was killed between telling what it would write and writing it,
        and then a client deleted the point.
        """
        told = re.search(r"NotSettled .*\(ids ([^)]*)\)", self.log.read_text())
        return [int(each) if each.isdecimal() else each for each in told[1].split(", ")] if told else []

    def _live(self) -> Effect | None:
        """Where this life was killed; `None` if it got through."""
        with self.begin() as life:
            met = self.gate.wait_shut(120.0, lambda: life.runs)
            if met is None:
                assert life.wait() == 0, life.log.read_text()
                return None
            life.kill()
        self.gate.abandon()
        return met


def _next_death(when: When, deaths: Counter[str], only: str) -> Callable[[Effect], bool]:
    """Where the next life ends: at what has killed none yet; among upserts and deletes also further on."""
    met: Counter[str] = Counter()

    def here(effect: Effect) -> bool:
        if effect.when != when or not effect.name.startswith(only):
            return False
        met[effect.name] += 1
        often = REPEATED if effect.name.startswith(("upsert", "delete")) else 1
        return deaths[effect.name] < min(often, met[effect.name])

    return here


@pytest.fixture(scope="module")
def mother() -> Iterator[Mother]:
    with Mother() as mother:
        yield mother


@pytest.fixture
def lives(
    qdrant: Qdrant, encoders: EmbeddingServer, prefix: str, mother: Mother, tmp_path: Path
) -> Iterator[Lives]:
    """Lives on an empty collection."""
    docs = Docs(qdrant, encoders, f"{prefix}docs")
    with Gate(qdrant, docs.alias) as gate:
        docs.through(gate.url, gate.grpc_port)
        docs.edit(collection={"migration": {"promotion": {"quietWait": "0s"}}})
        yield Lives(docs, gate, mother, tmp_path)


def ended_right(lives: Lives, ledger: Ledger, serving: str, *retained: str) -> None:
    """The alias serves all that was acknowledged, from what is declared; and nothing is left to do or lying about.

    `serving` and `retained` are schema versions.
    """
    docs = lives.docs
    lives.through()  # what was written since the last life came to its end goes to what is retained
    lives.through()  # and a round that has nothing to do covers what that one has told the write-ahead log
    assert lives.next_effect() is None, lives.gate.applied()[-6:]
    found = docs.audit(ledger)
    assert found.ok, found
    assert found.unsure == 0
    by_version = {name.removeprefix(f"{docs.alias}-").partition("-")[0]: name for name in docs.collections()}
    assert by_version.keys() == {serving, *retained}
    assert len(by_version) == len(docs.collections())
    aliases = {docs.alias: serving, **{f"{docs.alias}-{version}": version for version in by_version}}
    assert docs.aliases() == {alias: by_version[version] for alias, version in aliases.items()}
    docs.no_fence()
    for version, name in by_version.items():
        assert ("replaced" in docs.marks(name)) is (version != serving)
        assert docs.marks(name)["migration"]["stage"] in ("Ready", "RollingBack")
    assert docs.marks(by_version[serving])["migration"]["stage"] == "Ready"


@pytest.mark.fault(1)
def test_the_first_collection(lives: Lives) -> None:
    deaths = lives.killed_everywhere()
    assert {"create v1", "alias create alias v1", "patch v1 migration Indexing"} <= {*deaths}
    assert lives.gate.applied().count("create v1") == 1
    ended_right(lives, lives.docs.load(), "v1")


@pytest.mark.fault(1)
def test_a_change_in_place(lives: Lives) -> None:
    lives.through()
    ledger = lives.docs.load()
    indexes = [{"field": "source", "type": "keyword"}, {"field": "n", "type": "integer"}]
    lives.docs.edit(collection={"hnsw": {"m": 12}, "payloadIndexes": indexes})
    deaths = lives.killed_everywhere()
    expected = {"drop index v1 module", "index v1 source", "index v1 n", "patch v1 hnsw_config"}
    assert expected <= {*deaths}, deaths
    ended_right(lives, ledger, "v1")
    info = lives.docs.info(lives.docs.alias)
    assert info["config"]["hnsw_config"]["m"] == 12
    assert info["payload_schema"].keys() == {"source", "n"}


@pytest.mark.fault(1)
def test_another_encoder_under_load(lives: Lives) -> None:
    lives.through()
    ledger = lives.docs.load()
    lives.docs.edit(embedding_set={**LARGE, "schemaVersion": "v2"})
    with lives.docs.clients(ledger) as clients:
        deaths = lives.killed_everywhere()
    expected = {
        *("create v2", "upsert v2 in Populating", "patch v2 checkpoint stale", "delete v2 in CatchingUp"),
        *("upsert v2 in Promoting", "index v2 module", "patch v2 optimizers_config", "alias create next v2"),
        *("patch v2 verdict", "patch v1 fence", "patch v1 strict_mode_config to 1", "patch v1 -fence"),
        *("alias create alias v2", "patch v1 replaced", "alias delete next"),
        *(
            f"patch v2 migration {stage}"
            for stage in ("CatchingUp", "Indexing", "Verifying", "Promoting", "Ready")
        ),
    }
    assert expected <= {*deaths}, f"{expected - {*deaths}} of {deaths}"
    # What an earlier life has carried is cleared with the notes, or there was nothing.
    assert any(death.endswith(" cutover-begun in-step stale") for death in deaths), deaths
    assert clients.counts().failures == 0, clients.counts()
    assert clients.counts().throttled > 0
    assert lives.gate.applied().count("create v2") == 1
    ended_right(lives, clients.ledger, "v2", "v1")


@pytest.mark.fault(1)
def test_back_and_retirement_under_load(lives: Lives) -> None:
    docs = lives.docs
    lives.through()
    ledger = docs.load()
    docs.edit(embedding_set={**LARGE, "schemaVersion": "v2"})
    lives.through()
    docs.edit(embedding_set={**SMALL, "schemaVersion": "v1"})
    with docs.clients(ledger) as clients:
        deaths = lives.killed_everywhere()
        ended_moving_back = {"patch v1 migration RollingBack", "patch v2 fence", "alias create alias v1"}
        assert ended_moving_back <= {*deaths}, deaths
        docs.edit(collection={"retention": {"keepFor": "0s"}})
        deaths = lives.killed_everywhere()
        while (doubtful := lives.doubtful()) and "drop v2" not in deaths:
            with docs.http() as client:
                where = f"/collections/{docs.version('v2')}/points/delete?wait=true"
                client.post(where, json={"points": doubtful}).raise_for_status()
            deaths += lives.killed_everywhere()
    assert {"snapshot v2", "drop v2"} <= {*deaths}, (deaths, lives.log.read_text())
    assert clients.counts().failures == 0, clients.counts()
    # Each process that comes so far takes its own: one that a dead process has left may lack the last writes.
    took_one = ("snapshot v2", "patch v2 snapshots", "drop v2")
    assert lives.gate.applied().count("snapshot v2") == sum(death in took_one for death in deaths), deaths
    ended_right(lives, clients.ledger, "v1")


@pytest.mark.fault(1)
@pytest.mark.fault(2)
@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_paid_twice(lives: Lives, when: When) -> None:
    """But the batch that was in hand at a kill: it was paid for and is nowhere."""
    lives.through()
    ledger = lives.docs.load()
    lives.docs.edit(embedding_set={**LARGE, "schemaVersion": "v2"}, collection={"migration": {"parallelism": 1}})
    before = lives.docs.encoders.calls("teal").texts
    deaths = lives.killed_everywhere(when, only="upsert v2 in Populating")
    paid = lives.docs.encoders.calls("teal").texts - before
    assert len(deaths) == REPEATED
    lost = len(deaths) if when == "before" else 0
    assert paid == len(texts()) + lost * BATCH + COMPARED
    ended_right(lives, ledger, "v2", "v1")


@pytest.mark.fault(17)
@pytest.mark.parametrize("killed", [False, True])
def test_writes_between_the_last_look_and_the_cutover(lives: Lives, killed: bool) -> None:
    """They land on the old collection, acknowledged, when all seemed quiet; then Teal dies, or not.

    With a fence they would be refused.
    """
    lives.through()
    ledger = lives.docs.load()
    lives.docs.edit(
        collection={"migration": {"promotion": {"fence": "Never"}}},
        embedding_set={**LARGE, "schemaVersion": "v2"},
    )
    lives.gate.shut_at(named("before alias create alias v2"))
    with lives.begin() as life:
        assert lives.gate.wait_shut(alive=lambda: life.runs)
        with lives.docs.clients(ledger, readers=0) as late:
            late.wait_until(lambda counts: counts.all_writes > 20)
        lives.gate.go_on(named("after alias create alias v2") if killed else lambda _: False)
        if killed:
            assert lives.gate.wait_shut(alive=lambda: life.runs)
        else:
            assert life.wait() == 0, life.log.read_text()
    lives.gate.abandon()
    lives.through()
    ended_right(lives, late.ledger, "v2", "v1")


@pytest.mark.fault(18)
@pytest.mark.parametrize("answered", [0, 1])
def test_a_scan_that_breaks_off_at_the_cutover(lives: Lives, answered: int) -> None:
    """Nobody is killed; but a part of the points must not be taken for all of them."""
    server = lives.docs.qdrant.need_faults()
    lives.through()
    ledger = lives.docs.load()
    lives.docs.edit(embedding_set={**LARGE, "schemaVersion": "v2"})
    lives.gate.shut_at(named("after patch v2 migration Promoting"))
    with lives.begin() as life:
        assert lives.gate.wait_shut(alive=lambda: life.runs)
        if answered:
            server.faults(match="GRPC qdrant.Points/Query", times=answered, delay=0.001)
        server.faults(match="GRPC qdrant.Points/Query", status=500)
        lives.gate.go_on()
        assert life.wait() == 0, life.log.read_text()
    ended_right(lives, ledger, "v2", "v1")


@pytest.fixture
def gate(docs: Docs) -> Iterator[Gate]:
    """A gate between the operator and Qdrant; `docs` goes through it."""
    with Gate(docs.qdrant, docs.alias) as gate:
        docs.through(gate.url, gate.grpc_port)
        yield gate


@pytest.fixture
def migrating(gate: Gate, docs: Docs, operator: StartOperator) -> Ledger:
    """What `docs` was loaded with; another encoder is declared, and its migration about to begin.

    The operator has no Lease, which its successor would have to wait for and an API server that is away ends.
    """
    docs.declare()
    operator("--no-lease")
    docs.wait_ready()
    ledger = docs.load()
    gate.shut_at(named("before create v2"))
    docs.apply(embedding_set={**LARGE, "schemaVersion": "v2"})
    gate.wait_shut(alive=docs.operator_runs)
    return ledger


def stop_at(docs: Docs, gate: Gate, name: str) -> None:
    """Let the migration go on to `name` ("before create v2"), and hold it there."""
    gate.go_on(named(name))
    assert gate.wait_shut(alive=docs.operator_runs), docs.story()


@pytest.mark.fault(1)
@pytest.mark.fault(8)
def test_api_server_hears_of_nothing(
    docs: Docs, gate: Gate, migrating: Ledger, operator: StartOperator, local_control_plane: ControlPlane
) -> None:
    """Killed after an effect whose status could not be written: five times in one migration."""
    steps: dict[str, Callable[[], bool]] = {
        "create v2": lambda: len(docs.collections()) == 2,
        "patch v2 migration Indexing": lambda: docs.stage("v2") not in ("Populating", "CatchingUp"),
        "patch v2 migration Promoting": lambda: docs.stage("v2") in ("Promoting", "Watching", "Ready"),
        "alias create alias v2": lambda: "-v2-" in docs.aliases()[docs.alias],
        "patch v1 replaced": lambda: "replaced" in docs.marks(docs.version("v1")),
    }
    names = [*(f"before {name}" for name in steps), "nothing more"]
    for (name, applied), following in zip(steps.items(), names[1:], strict=True):
        assert gate.wait_shut(alive=docs.operator_runs), docs.story()
        local_control_plane.pause_api_server()
        try:
            gate.go_on(named(following))
            docs.until(applied, name)
            docs.operators[-1].kill()
        finally:
            local_control_plane.resume_api_server()
        gate.abandon()
        gate.shut_at(named(following))
        operator("--no-lease")
    ended_once(docs, gate.applied(), migrating)


def test_servers_restart(docs: Docs, gate: Gate, migrating: Ledger, local_control_plane: ControlPlane) -> None:
    """The API server in order, Qdrant by a crash."""
    server = docs.qdrant.need_faults()
    stop_at(docs, gate, "before upsert v2 in Populating")
    server.kill()
    try:
        gate.go_on()
        local_control_plane.restart_api_server()
        docs.wait_for(
            lambda found: "QdrantUnreachable" in str(found["status"]["conditions"]), what="telling of it"
        )
    finally:
        server.restart()
    ended_once(docs, gate.applied(), migrating)
