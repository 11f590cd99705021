"""The real engine with a Qdrant in memory, users who edit and meddle, and an application that goes on writing.

Whoever plays with a `World` finds its promises checked after every move: what serves is complete, nothing is
deleted that has to stay, nobody is held back for good, and the status says what it may say.

Two collections are kept in step: what serves and what served right before. What is written to one that was
replaced earlier still is not carried anywhere, and a `World` does not ask for it.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest.mock import patch

from teal.api.embedding_set import EmbeddingSet
from teal.api.manifest import parse
from teal.api.status import VectorCollectionStatus
from teal.api.vector_collection import VectorCollection
from teal.cli.manifests import FileSecrets
from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.domain.marks import Owner
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, ours
from teal.domain.plan import Identity
from teal.migration import engine
from teal.migration.contract import Note, Outcome, Resource
from teal.migration.cutover import late_writes
from teal.migration.engine import Engine
from teal.migration.resolve import embedders
from teal.migration.resolve.desired import desired as resolve
from teal.migration.resolve.desired import options
from teal.migration.sync import rounds
from teal.migration.sync.pairs import retained_by
from teal.migration.verification import latency
from teal.qdrant import wire
from teal.qdrant.pool import QdrantPool
from teal.sources.embedder import Embedded
from teal.sources.errors import EmbedderUnavailableError
from tests.unit.migration.application import Application, encode
from tests.unit.migration.fake_qdrant import Effect, FakeQdrant, server_of
from tests.unit.migration.swift_loop import SwiftClock, SwiftLoop

Json = dict[str, Any]
ALIAS, UID, CLUSTER = "docs", "uid-docs", "cluster-1"
ME = Identity(UID, CLUSTER, "search", "docs")
SIZES = {"small": 4, "large": 6}
POINTS = 24
OFTEN = range(1, 7)
"""Points that the application changes and deletes all the time; the others stay, so that there are always most."""
RETAINED = range(101, 104)
"""Points that are written by the version's own alias, by applications that have not moved yet."""
PATIENCE = 400


class Crash(BaseException):
    """The process is no more."""


@dataclass(frozen=True)
class Trouble:
    """Something that happens at the `at`-th call of a slice, or at the first of this name."""

    at: int | str
    what: str
    point: int = 1


CRASHES = ("crash before", "crash after")
FAILURES = ("never sent", "no answer", "answer lost")


class Line:
    """One process's connection to everything outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.cut = False

    async def carry(self, kind: str, write: bool, effect: Effect[Any]) -> Any:
        world = self._world
        await self._travel()
        failure = world.meet_trouble(self, kind)
        self._refuse_dead()
        if failure in ("never sent", "no answer"):
            raise _failed(kind, write and failure == "no answer")
        answer = effect()
        world.after_call(kind)
        if failure == "crash after":
            self.cut = True
        await self._travel()
        if failure == "answer lost":
            raise _failed(kind, write)
        return answer

    async def _travel(self) -> None:
        self._refuse_dead()
        await asyncio.sleep(self._world.latency)
        self._refuse_dead()

    def _refuse_dead(self) -> None:
        if self.cut:
            raise Crash


def _failed(kind: str, unknown: bool) -> TransientError:
    if kind == "embed":
        return EmbedderUnavailableError("the embedder does not answer")
    if unknown:
        return UnknownOutcomeError("QdrantOutcomeUnknown", f"{kind} was sent, but no answer came.")
    return TransientError("QdrantUnreachable", f"No answer to {kind}.")


class World:
    """One resource. `embeds`: its vectors are an EmbeddingSet's; else the application makes them alone.

    `peers`: of how many the Qdrant consists. `spec`: what the resource declares beyond the usual.
    """

    batch = 5
    """Points in one request of a copy."""

    def __init__(
        self,
        *,
        embeds: bool = False,
        telemetry: bool = True,
        latency: float = 0.001,
        peers: int = 1,
        spec: Json | None = None,
    ) -> None:
        self.loop = SwiftLoop()
        self.loop.set_exception_handler(_unheard)
        self.clock = SwiftClock(self.loop)
        self.latency = latency
        self.server = FakeQdrant(self.clock.now, peers)
        self.server.telemetry = telemetry
        self.server.deleting = self._may_go
        self.calls = 0
        self.application = Application(self.server, ALIAS, lambda: self.calls)
        self.spec = _merged(_spec(embeds), spec or {})
        self.embedding_set = _embedding_set() if embeds else None
        self.generation = 1
        self.annotations: dict[str, str] = {}
        self.status: Json = {}
        self.notes: list[Note] = []
        self.leads = True
        self.alias_deleted = True  # it is not there yet
        self.next_wait = 0.0
        self._troubles: dict[int | str, list[Trouble]] = {}
        self._busy = 0
        self._looked = 0
        self._served: str | None = None
        self._switching = False
        self._bystanders()
        self._start()
        self.until_ready()
        for number in range(1, POINTS + 1):
            self.application.write("upsert", number)

    # The host

    def _start(self) -> None:
        self.line = Line(self)
        pool = QdrantPool(make=server_of(self.server, self.line.carry, self.loop.time), clock=self.loop.time)
        self._engine = Engine(FileSecrets(), CLUSTER, lambda: self.leads, clock=self.clock, pool=pool)

    def restart(self) -> None:
        """The process is gone, with everything that it had in memory; another one begins."""
        self.line.cut = True
        self._run(self._bury())
        self._start()

    async def _bury(self) -> None:
        await self._engine.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        self._run(self._bury())
        self.loop.close()

    def _run(self, work: Any) -> Any:
        with self._tools():
            return self.loop.run_until_complete(work)

    @contextmanager
    def _tools(self) -> Iterator[None]:
        """Small batches, so that a few points make many; and an embedder without a network."""
        world = self

        class Embedder:
            def __init__(self, _: str, model: str, dimensions: int, **__: Any) -> None:
                self._model, self._size, self.tokens_spent = model, dimensions, 0

            async def embed(self, texts: list[str]) -> Embedded:
                rows = [encode(self._model, self._size, text) for text in texts]
                return await world.line.carry("embed", False, lambda: Embedded(rows, len(texts), False))

            async def aclose(self) -> None:
                pass

        with (
            patch.object(embedders, "OpenAIEmbedder", Embedder),
            patch.object(engine, "resolve_options", lambda resource: replace(options(resource), batch=self.batch)),
            patch.object(rounds, "BATCH", self.batch),
            patch.object(late_writes, "BATCH", self.batch),
            patch.multiple(latency, WARM_UP=1, SEARCHES=5),
        ):
            yield

    @property
    def resource(self) -> Resource:
        given = self.embedding_set
        found = _parsed(json.dumps(given)) if given else None
        spec = json.dumps({**_KIND, "spec": self.spec})
        manifest = _parsed(spec)
        assert isinstance(manifest, VectorCollection)
        assert found is None or isinstance(found, EmbeddingSet)
        return Resource(
            manifest, found, UID, "search", "docs", self.generation,
            annotations=dict(self.annotations), status=copy.deepcopy(self.status),
        )  # fmt: skip

    def reconcile(self, troubles: Iterable[Trouble] = (), busy: int = 0) -> Outcome | None:
        """One slice; `None` if the process did not survive it. `busy`: a write at every so many calls."""
        self._troubles = {}
        for trouble in troubles:
            at = trouble.at if isinstance(trouble.at, str) else self.calls + trouble.at
            self._troubles.setdefault(at, []).append(trouble)
        self._busy = busy
        try:
            outcome = self._run(self._slice())
        finally:
            failures = [each for each in troubles if each.what in FAILURES]
            self._troubles, self._busy = {}, 0
        if outcome is None:
            self.restart()
        else:
            self._reported(outcome, len(failures))
        self.check()
        return outcome

    async def _slice(self) -> Outcome | None:
        try:
            outcome = await self._engine.reconcile(self.resource)
        except Crash:
            return None
        return None if self.line.cut else outcome

    def _reported(self, outcome: Outcome, failures: int) -> None:
        self.status = dict(outcome.status)
        self.notes += outcome.notes
        self.next_wait = outcome.requeue_after
        VectorCollectionStatus.model_validate(self.status, by_alias=True, by_name=False)
        kinds = {each["type"] for each in self.status["conditions"] if each["status"] == "True"}
        assert not {"Reconciling", "Stalled"} <= kinds, self.status["conditions"]
        if failures <= 1 and self.leads:
            for name in self.server.names:
                assert self.server.state(name).marks.fence is None, f"the fence on {name} was left"
                strict = self.server.model.collections[name].config.get("strict_mode_config") or {}
                assert not strict.get("enabled") or strict["write_rate_limit"] > 1, f"{name} takes no writes"

    def wait(self, seconds: float) -> None:
        """Time passes; what goes on between two slices goes on."""
        self._run(asyncio.sleep(seconds))
        self.application.give_up()

    def reconcile_in_time(self, **given: Any) -> None:
        """A slice when it is due."""
        self.wait(self.next_wait)
        self.reconcile(**given)

    def until(self, phase: str, slices: int = 40, **given: Any) -> bool:
        """Go on until the phase is reached; false if that does not come about."""
        for _ in range(slices):
            if self.phase == phase:
                return True
            self.reconcile_in_time(**given)
        return self.phase == phase

    def until_ready(self) -> None:
        for _ in range(PATIENCE):
            if self.is_ready():
                return
            self.reconcile_in_time()
        raise AssertionError(f"it does not come to rest:\n{self.describe()}")

    # What there is to see

    @property
    def phase(self) -> str:
        return str(self.status.get("phase"))

    @property
    def migration(self) -> Json:
        return dict(self.status.get("migration") or {})

    def condition(self, kind: str) -> str:
        found = {each["type"]: each["status"] for each in self.status.get("conditions") or ()}
        return str(found.get(kind))

    def is_ready(self) -> bool:
        if self.phase != "Ready" or self.condition("Ready") != "True" or self.serving is None:
            return False
        return self.state(self.serving).revision == resolve(self.resource, CLUSTER).schema.revision

    @property
    def serving(self) -> str | None:
        return self.server.aliases.get(ALIAS)

    def state(self, name: str) -> CollectionState:
        return self.server.state(name)

    @property
    def mine(self) -> list[CollectionState]:
        return [state for name in self.server.names if ours(state := self.state(name), ME)]

    @property
    def retained(self) -> CollectionState | None:
        """What served before what serves now, while it is kept."""
        retained = retained_by(self.state(self.serving), self.mine) if self.serving else []
        for last in retained[:1]:
            if last.marks.replaced and last.marks.replaced.at + self.keep_for > self.clock.now():
                return last
        return None

    @property
    def keep_for(self) -> float:
        return self.resource.manifest.spec.retention.keep_for.total_seconds()

    def describe(self) -> str:
        events = "\n".join(f"  {note.reason}: {note.message}" for note in self.notes[-25:])
        collections = "\n".join(
            f"  {state.name}: {len(self.server.points(state.name))} points, {state.marks.migration}, "
            f"{state.marks.replaced}, {state.marks.declined}"
            for state in self.mine
        )
        return f"{json.dumps(self.status, indent=1)}\n{self.server.aliases}\n{collections}\n{events}"

    # Users

    def edit(self, **changes: Any) -> None:
        """Merge into the spec, as a commit would."""
        self.spec = _merged(self.spec, changes)
        self.generation += 1

    def encode_by(self, **changes: Any) -> None:
        """Edit whatever says how vectors are made."""
        if self.embedding_set is None:
            self.edit(**changes)
        else:
            self.embedding_set["spec"] = _merged(self.embedding_set["spec"], changes)

    def annotate(self, action: str, *, stale: bool = False) -> None:
        """Ask for something, by what the status shows now or by something out of date."""
        current = self.migration.get("planHash" if action == "promote" else "id", "nothing-1")
        self.annotations[f"teal.dev/{action}"] = "stale-1" if stale else str(current)

    def delete_alias(self) -> None:
        """Somebody removes the alias; not in the midst of a switch, whose end nobody could tell then."""
        if self.serving and not self._is_switching(self.state(self.serving)):
            del self.server.aliases[ALIAS]
            self.alias_deleted = True

    @staticmethod
    def _is_switching(state: CollectionState) -> bool:
        return state.marks.switch is not None or state.marks.replaced is not None

    def delete_green(self) -> None:
        """Somebody removes a collection that has never served."""
        for state in self.mine:
            if not has_served(state) and self.serving != state.name:
                self.server.deleting = lambda _: None
                self.server._delete(state.name)
                self.server.deleting = self._may_go
                return

    # What happens meanwhile

    def meet_trouble(self, line: Line, kind: str) -> str | None:
        """What happens at this call; the kind of failure if it is to fail."""
        self.calls += 1
        failure = None
        for trouble in (*self._troubles.pop(self.calls, ()), *self._troubles.pop(kind, ())):
            if trouble.what in FAILURES or trouble.what == "crash after":
                failure = trouble.what
            elif trouble.what == "crash before":
                line.cut = True
            else:
                self.meddle(trouble.what, trouble.point)
        if self._busy and self.calls % self._busy == 0:
            number = self.calls // self._busy
            self.application.write(("upsert", "change", "delete")[number % 3], OFTEN[number % len(OFTEN)])
        return failure

    def meddle(self, what: str, point: int = 1) -> None:
        """The application does something."""
        if what == "land":
            if self.application.pending:
                self.application.land(point % len(self.application.pending))
        elif what.startswith("begin "):
            self.application.begin(what.removeprefix("begin "), point)
        else:
            self.application.write(what, point)

    def write_retained(self, what: str, point: int) -> None:
        """By an application that still uses the version's own alias."""
        retained = self.retained
        if retained and self.server.aliases.get(f"{ALIAS}-{retained.schema.schema_version}") == retained.name:
            self.application.write(what, point, retained.schema.schema_version)

    def after_call(self, kind: str) -> None:
        """What has to hold at the very moment of a switch, and when it is called complete."""
        if kind == "telemetry":
            self._looked = self.calls
        if kind == "point_alias" and self.serving != self._served:
            if self._served and not self.alias_deleted and self.server.telemetry:
                self._assert_complete(landed_before=self._looked)
            self._served, self.alias_deleted = self.serving, False
        if kind == "mark" and self.serving:
            switching, self._switching = self._switching, self.state(self.serving).marks.switch is not None
            if switching and not self._switching:
                self._assert_complete()

    def _assert_complete(self, landed_before: int | None = None) -> None:
        if self.serving is None:
            return
        lost = self.application.wrong(self.serving) - self.application.late.keys()
        if landed_before is not None:
            lost = {point for point in lost if self.application.landed[point] < landed_before}
        assert not lost, self._lost(lost, self.serving)

    # Promises

    def check(self) -> None:
        """What holds at any time between two slices."""
        assert self._untouched() == self._theirs, "what is somebody else's was touched"
        if not self.alias_deleted:
            assert self.serving in self.server.names, "the alias serves nothing"
        if self.serving is None:
            return
        state = self.state(self.serving)
        assert ours(state, ME)
        wrong = self.application.wrong(self.serving)
        kept = {self.serving, self.retained and self.retained.name}
        for point, where in list(self.application.late.items()):
            if point not in wrong:
                del self.application.late[point]
            elif where not in kept and state.marks.switch is None:
                self.application.forget(point)
        if state.marks.switch is None:
            self._assert_complete()

    def _lost(self, points: set[wire.RawId], name: str) -> str:
        return f"not as it was stored: {self.application.describe(points, name)}\n{self.describe()}"

    def _may_go(self, name: str) -> None:
        """Asked by the server before the engine's deletion of a collection is carried out."""
        state, now = self.state(name), self.clock.now()
        assert ours(state, ME), f"{name} is not ours"
        assert self.serving != name, f"{name} serves"
        if has_served(state):
            replaced = state.marks.replaced
            assert replaced, f"{name} is not known to be replaced"
            assert replaced.at + self.keep_for <= now, f"{name} is to be kept for {self.keep_for} s"
        alone = {point for point, where in self.application.late.items() if where == name}
        lost = alone & self.application.wrong(self.serving) if self.serving else alone
        assert not lost, f"{name} goes with what is there alone: {self._lost(lost, str(self.serving))}"

    def _bystanders(self) -> None:
        """Collections of other people, with names and aliases like ours."""
        body = {"vectors": {"size": 4, "distance": "Dot"}}
        other = Owner("uid-other", CLUSTER, "other", "docs", "docs-v2-theirs", "12345678", "v2", 0.0)
        self.server._create("docs-v2-theirs", {**body, "metadata": {"teal.dev/owner": other.as_json()}})
        self.server._create("docs-archive", body)
        self.server.aliases["docs-old"] = "docs-archive"
        self._theirs = self._untouched()

    def _untouched(self) -> Any:
        found = {
            name: (self.server.model.collections[name].config, self.server.shards[name].op_nums)
            for name in self.server.names
            if not ours(self.state(name), ME)
        }
        theirs = {alias: name for alias, name in self.server.aliases.items() if name in found}
        return copy.deepcopy((found, theirs))

    # The end

    def come_to_rest(self) -> None:
        """All trouble is over: what is declared comes about, exactly, and after its retention the old is gone."""
        while self.application.pending:
            self.application.land(0)
        self.leads = True
        self.edit(suspend=False, migration={"promotion": {"mode": "Automatic"}})
        for _ in range(PATIENCE):
            if self.is_ready():
                break
            if self.condition("Stalled") == "True":
                self.annotate("retry")
            self.reconcile_in_time()
        assert self.is_ready(), f"it does not come to rest:\n{self.describe()}"
        for _ in range(5):
            self.wait(120.0)  # more than the pause between two rounds of staying in step
            for _ in range(3):
                self.reconcile()
        self._exact()
        self.wait(self.keep_for)
        for _ in range(12):
            self.reconcile_in_time()
        self._exact()
        assert [state.name for state in self.mine] == [self.serving], self.describe()
        version = f"{ALIAS}-{self.state(self.serving).schema.schema_version}" if self.serving else ""
        left = {alias: name for alias, name in self.server.aliases.items() if name == self.serving}
        assert set(left) == {ALIAS, version}, self.server.aliases

    def _exact(self) -> None:
        retained = self.retained
        for name in filter(None, (self.serving, retained and retained.name)):
            wrong = self.application.wrong(name)
            assert not wrong, self._lost(wrong, name)


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody asks what became of the tasks of a dead process."""
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)


_KIND = {
    "apiVersion": "teal.dev/v1alpha1",
    "kind": "VectorCollection",
    "metadata": {"name": "docs", "namespace": "search"},
}


@cache
def _parsed(manifest: str) -> EmbeddingSet | VectorCollection:
    return parse(json.loads(manifest))


def _spec(embeds: bool) -> Json:
    encoding: Json = (
        {"embeddingSetRef": {"name": "e"}}
        if embeds
        else {"dimensions": 4, "distance": "Cosine", "schemaVersion": "v1"}
    )
    return {
        "qdrant": {"url": "http://qdrant:6333"},
        "alias": ALIAS,
        **encoding,
        "migration": {"allowNormalized": True, "promotion": {"quietWait": "2s"}},
        "watch": {"duration": "0s", "interval": "1s"},
        "retention": {"keepFor": "1h", "snapshot": False},
    }


def _embedding_set() -> Json:
    return {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": "EmbeddingSet",
        "metadata": {"name": "e", "namespace": "search"},
        "spec": {
            "schemaVersion": "v1",
            "dimensions": SIZES["small"],
            "distance": "Cosine",
            "model": "small",
            "embedder": {"openAI": {"url": "http://encoders/v1", "batchSize": 4}},
            "source": {"collection": {"textField": "text"}},
        },
    }


def _merged(old: Json, changes: Json) -> Json:
    new = copy.deepcopy(old)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(new.get(key), dict)
        new[key] = _merged(new[key], value) if both else copy.deepcopy(value)
    return new
