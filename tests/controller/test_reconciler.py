"""One look at a resource: what is asked of the engine, what is written, and when it is looked at again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from teal.controller.cache import Cache
from teal.controller.dispatcher import Next
from teal.controller.kube import ApiServerError
from teal.controller.metrics import Metrics
from teal.controller.objects import CLEANUP_FINALIZER, Kind, Ref
from teal.controller.reconciler import Reconciler
from teal.domain.errors import TerminalError, TransientError
from teal.migration.contract import Note, Outcome, Resource
from tests.controller.fakes import FakeEngine, FakeKube, embedding_set, ready, ref, vector_collection

ESET = ref("minilm", Kind.EMBEDDING_SET)
STARTED = Note("MigrationStarted", "docs-v1 → docs-v2", action="Migrate")


class Bench:
    """A reconciler between a fake API server and a fake engine; `look` first lets the watch catch up."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.engine = FakeEngine()
        self.cache = Cache()
        self.metrics = Metrics()
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.reconciler = Reconciler(
            self.kube,
            self.cache,
            self.engine,
            self.metrics,
            resync=600.0,
            now=lambda: self.time,
            rng=random.Random(0),
        )

    def watch(self) -> None:
        for at, obj in self.kube.objects.items():
            self.cache.put(at.kind, obj)
        for at, entry in self.cache.entries().items():
            if at not in self.kube.objects:
                self.cache.remove(at, entry.uid)

    async def look(self, at: Ref | None = None) -> Next:
        self.watch()
        self.time += timedelta(seconds=10)
        return await self.reconciler.process(at or ref())

    @property
    def writes(self) -> list[str]:
        return self.kube.writes

    def status(self, at: Ref | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.kube.objects[at or ref()].get("status", {})
        return found

    def conditions(self, at: Ref | None = None) -> dict[str, tuple[str, str]]:
        return {each["type"]: (each["status"], each["reason"]) for each in self.status(at)["conditions"]}

    def counted(self, outcome: str) -> float:
        labels = {"kind": "VectorCollection", "outcome": outcome}
        return self.metrics.registry.get_sample_value("teal_reconciles_total", labels) or 0.0


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_the_engine_is_told_all_and_its_status_is_written(bench: Bench) -> None:
    bench.kube.apply(embedding_set())
    manifest = vector_collection(embedding_set="minilm")
    manifest["metadata"]["annotations"] = {"teal.dev/retry": "m1"}
    obj = bench.kube.apply(manifest)
    await bench.look()
    (seen,) = bench.engine.seen
    assert seen.key == "search/docs"
    assert (seen.uid, seen.generation, seen.deleting) == (obj["metadata"]["uid"], 1, False)
    assert seen.embedding_set is not None
    assert seen.embedding_set.spec.dimensions == 4
    assert seen.annotations == {"teal.dev/retry": "m1"}
    assert bench.status()["phase"] == "Ready"
    assert bench.status()["observedGeneration"] == 1
    assert bench.status()["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:10Z"


async def test_a_look_that_finds_nothing_new_sends_nothing(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    await bench.look()
    version = bench.kube.objects[ref()]["metadata"]["resourceVersion"]
    bench.writes.clear()
    for _ in range(3):
        await bench.look()
    assert bench.writes == []
    assert bench.kube.objects[ref()]["metadata"]["resourceVersion"] == version
    assert (bench.counted("written"), bench.counted("unchanged")) == (1, 3)


async def test_what_the_engine_leaves_out_of_the_status_goes(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.engine.outcome = Outcome(ready(migration={"id": "m1", "progress": {"percent": 5}}))
    await bench.look()
    bench.engine.outcome = Outcome(ready())
    await bench.look()
    assert "migration" not in bench.status()


async def test_a_wiped_status_is_written_again(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    await bench.look()
    before = bench.status()
    bench.kube.set_status(ref(), {})
    await bench.look()
    assert bench.status()["phase"] == before["phase"]


async def test_a_set_that_does_not_exist_is_none(bench: Bench) -> None:
    bench.kube.apply(vector_collection(embedding_set="unknown"))
    await bench.look()
    assert bench.engine.seen[0].embedding_set is None


async def test_what_is_in_no_hurry_comes_back_in_the_background_and_spread(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.engine.outcome = Outcome(ready(), requeue_after=3600.0)
    first = await bench.look()
    assert first.background
    assert 60 <= first.after <= 600  # type: ignore[operator]
    for _ in range(20):
        again = await bench.look()
        assert 480 <= again.after <= 600  # type: ignore[operator]


async def test_what_is_under_way_comes_back_when_it_says(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.engine.outcome = Outcome(ready(), requeue_after=2.0)
    assert await bench.look() == Next(2.0)
    bench.engine.outcome = Outcome(ready(), failed=True)
    assert (await bench.look()).failed


async def test_notes_become_events_once(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.engine.outcome = Outcome(ready(), notes=[STARTED])
    for _ in range(3):
        await bench.look()
    (event,) = bench.kube.events.values()
    assert event["reason"] == "MigrationStarted"
    assert event["action"] == "Migrate"
    assert event["type"] == "Normal"
    assert event["reportingController"] == "teal.dev/operator"
    assert event["regarding"]["uid"] == bench.kube.objects[ref()]["metadata"]["uid"]


async def test_a_note_that_comes_back_later_is_told_again(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    for notes in ([STARTED], [], [STARTED]):
        bench.engine.outcome = Outcome(ready(), notes=notes)
        await bench.look()
    assert bench.kube.reasons == ["MigrationStarted"] * 2


async def test_an_event_that_could_not_be_posted_is_not_lost(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.kube.fail["event"] = [ApiServerError("no answer")]
    bench.engine.outcome = Outcome(ready(), notes=[STARTED, Note("Promoted", "it serves")])
    await bench.look()
    assert bench.kube.reasons == []
    bench.engine.outcome = Outcome(ready())
    await bench.look()
    assert bench.kube.reasons == ["MigrationStarted", "Promoted"]


async def test_events_are_posted_although_the_status_cannot_be_written(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.kube.fail["status"] = [ApiServerError("no answer")]
    bench.engine.outcome = Outcome(ready(), notes=[STARTED])
    await bench.look()
    assert "phase" not in bench.status()
    assert bench.kube.reasons == ["MigrationStarted"]
    await bench.look()
    assert bench.status()["phase"] == "Ready"
    assert bench.kube.reasons == ["MigrationStarted"]


async def test_the_finalizer_is_there_before_the_engine_begins(bench: Bench) -> None:
    bench.kube.apply(vector_collection(deletionPolicy="Delete"))
    at_first_look: list[Any] = []

    def answer(_: Resource) -> Outcome:
        at_first_look.extend(bench.kube.objects[ref()]["metadata"].get("finalizers", []))
        return Outcome(ready())

    bench.engine.answer = answer
    await bench.look()
    assert at_first_look == [CLEANUP_FINALIZER]
    assert bench.writes == ["finalizers docs teal.dev/cleanup", "status docs"]


async def test_no_finalizer_for_who_retains_and_none_stays_when_the_policy_changes(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    await bench.look()
    assert not bench.kube.objects[ref()]["metadata"].get("finalizers")
    bench.kube.apply(vector_collection(deletionPolicy="Delete"))
    await bench.look()
    assert bench.kube.objects[ref()]["metadata"]["finalizers"] == [CLEANUP_FINALIZER]
    bench.kube.apply(vector_collection())
    await bench.look()
    assert bench.kube.objects[ref()]["metadata"]["finalizers"] == []


async def test_a_deleted_resource_goes_when_the_engine_has_finished(bench: Bench) -> None:
    obj = bench.kube.apply(vector_collection(deletionPolicy="Delete"))
    await bench.look()
    bench.kube.delete(ref())
    bench.engine.outcome = Outcome(ready(phase="Deleting"), requeue_after=1.0)
    assert await bench.look() == Next(1.0)
    assert bench.engine.seen[-1].deleting
    assert bench.status()["phase"] == "Deleting"
    bench.engine.outcome = Outcome(ready(), notes=[Note("Deleted", "all gone")], finished=True)
    assert await bench.look() == Next()
    assert ref() not in bench.kube.objects
    assert "Deleted" in bench.kube.reasons
    assert await bench.look() == Next()
    assert bench.engine.forgotten == [obj["metadata"]["uid"]]


async def test_a_namesake_is_somebody_else(bench: Bench) -> None:
    first = bench.kube.apply(vector_collection())
    await bench.look()
    bench.kube.delete(ref())
    second = bench.kube.apply(vector_collection())
    await bench.look()
    assert bench.engine.forgotten == [first["metadata"]["uid"]]
    assert bench.engine.seen[-1].uid == second["metadata"]["uid"]


async def test_what_was_told_of_one_is_told_of_its_namesake_too(bench: Bench) -> None:
    bench.engine.outcome = Outcome(ready(), notes=[STARTED])
    uids = []
    for _ in range(2):
        uids.append(bench.kube.apply(vector_collection())["metadata"]["uid"])
        await bench.look()
        bench.kube.delete(ref())
    assert [event["regarding"]["uid"] for event in bench.kube.events.values()] == uids


async def test_what_could_not_be_told_of_one_is_not_told_of_its_namesake(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.kube.fail["event"] = [ApiServerError("no answer")]
    bench.engine.outcome = Outcome(ready(), notes=[STARTED])
    await bench.look()
    bench.kube.delete(ref())
    bench.kube.apply(vector_collection())
    bench.engine.outcome = Outcome(ready())
    await bench.look()
    assert bench.kube.reasons == []


async def test_its_own_writes_concern_nobody_when_a_watch_shows_them(bench: Bench) -> None:
    """Neither the one of the finalizer, which it sees while the engine is asked, nor the one of the status."""
    bench.kube.apply(vector_collection(deletionPolicy="Delete"))
    concerned: list[object] = []

    def answer(_: Resource) -> Outcome:
        concerned.extend(bench.cache.put(ref().kind, bench.kube.objects[ref()]))
        return Outcome(ready())

    bench.engine.answer = answer
    await bench.look()
    concerned.extend(bench.cache.put(ref().kind, bench.kube.objects[ref()]))
    assert bench.writes == ["finalizers docs teal.dev/cleanup", "status docs"]
    assert concerned == []


async def test_who_vanished_meanwhile_is_forgotten(bench: Bench) -> None:
    bench.kube.apply(vector_collection())

    def vanish(_: Resource) -> Outcome:
        bench.kube.objects.clear()
        return Outcome(ready())

    bench.engine.answer = vanish
    assert await bench.look() == Next()
    assert len(bench.engine.forgotten) == 1
    assert len(bench.cache) == 0


async def test_after_a_conflict_it_waits_for_the_newer_version(bench: Bench) -> None:
    bench.kube.apply(vector_collection(deletionPolicy="Delete"))
    bench.watch()
    bench.kube.apply(vector_collection(deletionPolicy="Delete", suspend=True))
    assert (await bench.reconciler.process(ref())).failed
    assert bench.engine.seen == []
    await bench.look()
    assert bench.engine.seen[0].manifest.spec.suspend


async def test_an_api_server_that_does_not_answer_costs_only_time(bench: Bench) -> None:
    bench.kube.apply(vector_collection())
    bench.kube.fail["status"] = [ApiServerError("no answer"), ApiServerError("500", 500)]
    for _ in range(2):
        following = await bench.look()
        assert 10 <= following.after <= 20  # type: ignore[operator]
        assert not following.failed
    assert (await bench.look()).background
    assert bench.status()["phase"] == "Ready"


async def test_a_spec_that_the_models_refuse_stalls_and_says_where(bench: Bench) -> None:
    bench.kube.apply(vector_collection(hnsw={"m": "many"}))
    await bench.look()
    assert bench.engine.seen == []
    assert bench.conditions() == {"Ready": ("False", "InvalidSpec"), "Stalled": ("True", "InvalidSpec")}
    assert "spec.hnsw.m" in bench.status()["conditions"][0]["message"]
    bench.writes.clear()
    await bench.look()
    assert bench.writes == []


async def test_a_set_that_the_models_refuse_stalls_its_users(bench: Bench) -> None:
    bench.kube.apply(embedding_set(dimensions=-1))
    bench.kube.apply(vector_collection(embedding_set="minilm"))
    await bench.look()
    assert bench.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert "EmbeddingSet minilm" in bench.status()["conditions"][0]["message"]


async def test_a_bug_is_shown_kept_quiet_about_and_got_over(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.kube.apply(vector_collection())

    def fail(_: Resource) -> Outcome:
        raise ZeroDivisionError("secret-in-a-message")

    bench.engine.answer = fail
    assert (await bench.look()).failed
    assert bench.conditions()["Ready"] == ("False", "InternalError")
    assert "secret-in-a-message" not in str(bench.status())
    assert "ZeroDivisionError: secret-in-a-message" in caplog.text
    bench.writes.clear()
    await bench.look()
    assert bench.writes == []
    bench.engine.answer = lambda _: Outcome(ready())
    assert not (await bench.look()).failed
    assert bench.conditions() == {"Ready": ("True", "UpToDate")}


async def test_a_status_that_the_definitions_do_not_know_is_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.kube.apply(vector_collection())
    bench.kube.prune = frozenset({"forecast"})
    bench.engine.outcome = Outcome(ready(forecast={"points": 1}))
    await bench.look()
    assert "did not keep forecast" in caplog.text


async def test_a_set_learns_who_uses_it(bench: Bench) -> None:
    bench.kube.apply(embedding_set())
    bench.kube.apply(vector_collection("b", embedding_set="minilm"))
    bench.kube.apply(vector_collection("a", embedding_set="minilm"))
    bench.engine.set_status = ready(probedDimensions=4, fingerprint="abc")
    following = await bench.look(ESET)
    assert following.background
    assert bench.status(ESET)["usedBy"] == ["a", "b"]
    assert bench.status(ESET)["probedDimensions"] == 4
    assert bench.status(ESET)["observedGeneration"] == 1
    bench.writes.clear()
    await bench.look(ESET)
    assert bench.writes == []


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (TerminalError("SecretNotFound", "create it"), {"Stalled": ("True", "SecretNotFound")}),
        (TransientError("EmbedderDown", "no answer"), {"Reconciling": ("True", "EmbedderDown")}),
    ],
)
async def test_a_set_shows_why_it_is_not_ready(
    bench: Bench, error: Exception, condition: dict[str, tuple[str, str]]
) -> None:
    bench.kube.apply(embedding_set())
    bench.engine.set_error = error
    assert (await bench.look(ESET)).failed
    assert bench.conditions(ESET) == {"Ready": ("False", next(iter(condition.values()))[1]), **condition}
