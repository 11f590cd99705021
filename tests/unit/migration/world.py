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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
from pydantic.alias_generators import to_camel

from teal.api.embedding_set import EmbeddingSet
from teal.api.manifest import parse
from teal.api.status import VectorCollectionStatus
from teal.api.vector_collection import VectorCollection
from teal.cli.manifests import FileSecrets
from teal.domain.buckets import MIN_BUCKETS, Buckets
from teal.domain.columns import columns_of
from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.domain.marks import InStep, Owner, SideNote
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, ours
from teal.domain.plan import Desired
from teal.domain.policy import Decision, decide
from teal.domain.policy.due_rounds import retained_by
from teal.domain.transitions import Stage
from teal.migration.contract import Note, Outcome, Resource
from teal.migration.engine import Engine
from teal.migration.options import Options
from teal.migration.report.record import ReconcileRecord
from teal.migration.resolve.desired import desired as resolve
from teal.migration.session import Session
from teal.migration.sync.notes import instance_of
from teal.qdrant import raw_keys, wire
from teal.qdrant.pool import QdrantPool
from teal.qdrant.wire import Point
from teal.sources.embedder import Embedded
from teal.sources.errors import EmbedderUnavailableError
from tests.unit.domain.builders import ALIAS, ME
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.domain.worlds import ENCODERS, SIZES, declared, revision
from tests.unit.domain.worlds import POINTS as FOUND_POINTS
from tests.unit.migration.application import Application, encode, stored
from tests.unit.migration.fake_qdrant import Effect, FakeQdrant, Stored, server_of
from tests.unit.migration.swift_loop import SwiftClock, SwiftLoop

Json = dict[str, Any]
UID, CLUSTER = ME.uid, ME.cluster
POINTS = 24
OFTEN = range(1, 7)
"""Points that the application changes and deletes all the time; the others stay, so that there are always most."""
RETAINED = range(101, 104)
"""Points that are written by the version's own alias, by applications that have not moved yet."""
PATIENCE = 400
OVER = ("checkpoint", "frozen", "cutover_begun", "hooks", "baseline", "watched", "fence", "replaced")
"""Marks that nothing is decided from when a migration is over."""


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


class Encoder:
    """An embedder without a network."""

    def __init__(self, world: World, model: str, dimensions: int) -> None:
        self._world, self._model, self._size = world, model, dimensions
        self.tokens_spent = 0

    async def embed(self, texts: Sequence[str], **_: bool) -> Embedded:
        rows = [encode(self._model, self._size, text) for text in texts]
        return await self._world.line.carry("embed", False, lambda: Embedded(rows, len(texts), False))

    async def aclose(self) -> None:
        """Nothing is open."""


class World:
    """One resource. `embeds`: its vectors are an EmbeddingSet's; else the application makes them alone.

    `found`: a Qdrant with a past, and `declared`, what is now asked of it, instead of a new one with a first
    revision that is filled. The application begins when something whole serves, with what that holds.
    `peers`: how many the Qdrant consists of. `spec`: what the resource declares beyond the usual.
    """

    batch = 5
    """Points in one request of a copy: few, so that a few points make many batches."""

    def __init__(
        self,
        *,
        embeds: bool = False,
        telemetry: bool = True,
        latency: float = 0.001,
        found: Qdrant | None = None,
        declared: Desired | None = None,
        peers: int = 1,
        spec: Json | None = None,
    ) -> None:
        self.loop = SwiftLoop()
        self.loop.set_exception_handler(_unheard)
        self.clock = SwiftClock(self.loop)
        self.latency = latency
        self.server = FakeQdrant(self.clock.now, found, _point, peers=peers)
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
        self.guarded = False
        self.alias_deleted = True  # it is not there yet
        self.next_wait = 0.0
        self._troubles: dict[int | str, list[Trouble]] = {}
        self._busy = 0
        self._looked = 0
        self._served: str | None = None
        self._cutting_over = False
        self.begun = self.deleted = False
        self.kept = True
        if declared:
            self.declare(declared)
        self._bystanders()
        self._start()
        if found is not None:
            self._take_stock()
            return
        self.until_ready()
        self.begun = True
        for number in range(1, POINTS + 1):
            self.application.write("upsert", number)

    # The host

    def _start(self) -> None:
        self.line = Line(self)
        self._engine = self._an_engine()

    def _an_engine(self) -> Engine:
        pool = QdrantPool(make=server_of(self.server, self.line.carry, self.loop.time), clock=self.loop.time)
        return Engine(
            FileSecrets(), CLUSTER, lambda: self.leads, clock=self.clock, pool=pool,
            tune=self._tuned, make_embedder=self._embedder,
        )  # fmt: skip

    def _tuned(self, options: Options) -> Options:
        batch = self.batch
        return replace(options, batch=batch, carry_batch=batch, latency_warm_up=1, latency_searches=5)

    def _embedder(self, _: str, model: str, dimensions: int, **__: Any) -> Encoder:
        return Encoder(self, model, dimensions)

    @property
    def session(self) -> Session:
        """What the engine remembers of the resource."""
        return self._engine.session_of(UID)

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
        return self.loop.run_until_complete(work)

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
            guarded=self.guarded, deleting=self.deleted,
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

    def plan(self) -> ReconcileRecord:
        """What `teal plan` would show, a process of its own that remembers nothing and touches nothing."""
        before = copy.deepcopy(self.server.shown())
        planned: ReconcileRecord = self._run(self._plan())
        assert self.server.shown() == before, "a plan has touched something"
        return planned

    async def _plan(self) -> ReconcileRecord:
        engine = self._an_engine()
        planned = await engine.plan(self.resource)
        await engine.close()
        return planned

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
        if outcome.needs_guard is not None:
            self.guarded = outcome.needs_guard
        VectorCollectionStatus.model_validate(self.status, by_alias=True, by_name=False)
        kinds = {each["type"] for each in self.status["conditions"] if each["status"] == "True"}
        assert not {"Reconciling", "Stalled"} <= kinds, self.status["conditions"]
        if failures <= 1 and self.leads:
            self.assert_no_fence()

    def assert_no_fence(self) -> None:
        for state in self.mine:
            assert state.marks.fence is None, f"the fence on {state.name} was left"
            strict = state.config.get("strict_mode_config") or {}
            assert not strict.get("enabled") or strict["write_rate_limit"] > 1, f"{state.name} takes no writes"

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

    @property
    def trouble(self) -> Json:
        """The condition that says what is in its way."""
        found = {each["type"]: each for each in self.status.get("conditions") or () if each["status"] == "True"}
        return dict(found.get("Stalled") or found.get("Reconciling") or {})

    @property
    def reason(self) -> str:
        return str(self.trouble.get("reason"))

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
        """What Teal sees of ours: an adopted collection that neither serves nor is named any more, it does not."""
        adopted = self.spec.get("adopt", {}).get("collection")
        seen = self.server.model.observe(ALIAS, adopted).states.values()
        return [state for state in seen if ours(state, ME)]

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

    def decide(self) -> Decision:
        """What is to be done next, of what there is now."""
        wanted = resolve(self.resource, CLUSTER)
        return decide(wanted, self.server.model.observe(ALIAS, wanted.adopt), self.clock.now())

    # Users

    def delete(self, policy: str) -> None:
        """The object is deleted; it stays as long as it has finalizers."""
        self.edit(deletionPolicy=policy)
        self.deleted = True
        if policy == "Delete":
            self.server.deleting, self.alias_deleted, self.kept = lambda _: None, True, False

    def declare(self, wanted: Desired) -> None:
        """Ask for just this."""
        schema, tuning = wanted.schema, wanted.tuning
        self.embedding_set, self.spec = _embedding_set(), _spec(embeds=True)
        main = schema.vectors[0]
        encoding = {"model": schema.model, "dimensions": main.size, "distance": main.distance.value}
        self.embedding_set["spec"] |= {**encoding, "schemaVersion": schema.schema_version}
        self.spec["retention"]["keepFor"] = f"{wanted.keep_for:.0f}s"
        self.spec["payloadIndexes"] = [
            {"field": field, **{to_camel(key): value for key, value in index.items()}}
            for field, index in tuning.indexes.items()
        ]
        self.spec |= {section.removesuffix("_config"): value for section, value in tuning.sections.items()}
        self.spec |= {"adopt": {"collection": wanted.adopt}} if wanted.adopt else {}
        self.spec |= {"shardNumber": schema.shard_number} if schema.shard_number else {}
        self.generation += 1
        found = resolve(self.resource, CLUSTER)
        assert (found.schema, found.tuning, found.encoder) == (schema, tuning, wanted.encoder)

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
        current = self.migration.get("planHash" if action == "promote" else "id") or self._advised(action)
        self.annotations[f"teal.dev/{action}"] = "stale-1" if stale else str(current)

    def _advised(self, action: str) -> str:
        """What a message says to annotate, as for a first revision, of which there is no section in status."""
        told = str(self.trouble.get("message", ""))
        return told.partition(f"teal.dev/{action}=")[2].partition(" ")[0] or "nothing-1"

    def delete_alias(self) -> None:
        """Somebody removes the alias; not in the midst of a cut-over, whose end nobody could tell then."""
        if self.serving and not self._is_cutting_over(self.state(self.serving)):
            del self.server.aliases[ALIAS]
            self.alias_deleted = True

    @staticmethod
    def _is_cutting_over(state: CollectionState) -> bool:
        return state.marks.cutover_begun is not None or state.marks.replaced is not None

    def move_alias_away(self) -> None:
        """Somebody does what the message asks for: the alias that it names is in the way of a deletion."""
        alias = self.trouble["message"].split("the alias '")[1].split("'")[0]
        del self.server.aliases[alias]
        self.alias_deleted = self.alias_deleted or alias == ALIAS

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
        if self._busy and self.calls % self._busy == 0 and self.begun:
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
        """What has to hold at the very moment of a cut-over, and when it is called complete."""
        if kind == "telemetry":
            self._looked = self.calls
        if kind == "point_alias" and self.serving != self._served:
            if self._served and not self.alias_deleted and self.server.telemetry:
                self._assert_complete(landed_before=self._looked)
            self._served, self.alias_deleted = self.serving, False
        if kind == "mark" and self.serving:
            cutting_over, self._cutting_over = (
                self._cutting_over,
                self.state(self.serving).marks.cutover_begun is not None,
            )
            if cutting_over and not self._cutting_over:
                self._assert_complete()

    def _assert_complete(self, landed_before: int | None = None) -> None:
        if self.serving is None or not self.begun:
            return
        lost = self.application.wrong(self.serving) - self.application.late.keys() - self.unsettled
        if landed_before is not None:
            lost = {point for point in lost if self.application.landed[point] < landed_before}
        assert not lost, self._lost(lost, self.serving)

    @property
    def unsettled(self) -> set[wire.RawId]:
        """The points of which nobody knows which side changed: Teal has noted them, and waits for a decision."""
        notes = [note for state in self.mine for note in state.marks.in_step.values()]
        return {wire.raw_id(wire.plain(point)) for note in notes for point in note.unsettled or ()}

    # Promises

    def check(self) -> None:
        """What holds at any time between two slices."""
        self._assert_theirs_untouched()
        if not self.alias_deleted:
            assert self.serving in self.server.names, "the alias serves nothing"
        self.begun = self.begun or self._begins()
        if self.serving is None or not self.begun or not self.kept:
            return
        state = self.state(self.serving)
        assert ours(state, ME)
        wrong = self.application.wrong(self.serving)
        kept = {self.serving, self.retained and self.retained.name}
        for point, where in list(self.application.late.items()):
            if point not in wrong:
                del self.application.late[point]
            elif where not in kept and state.marks.cutover_begun is None:
                self.application.forget(point)
        if state.marks.cutover_begun is None:
            self._assert_complete()

    def _begins(self) -> bool:
        """Whether the application may begin: what serves is ours, and whole."""
        state = self.state(self.serving) if self.serving else None
        if state is None or not ours(state, ME) or not (has_served(state) or self._is_first(state)):
            return False
        if not self.application.told:
            self.application.take_stock(state.name)
        return True

    @staticmethod
    def _is_first(state: CollectionState) -> bool:
        """Whether it has got the alias as the first revision, and does not know it yet."""
        migration = state.marks.migration
        return migration is not None and migration.stage is Stage.PROMOTING and migration.source is None

    def _take_stock(self) -> None:
        """All that have served hold what is stored, wherever the alias may point, and each has noted it."""
        served = [state for state in self.mine if has_served(state) or self._is_first(state)]
        notes = {state.name: self._note(state) for state in served}
        for here, there in permutations(notes, 2):
            mark = InStep(there, notes[here], notes[there])
            self.server.model.mark(here, {mark.key: mark.as_json()})
        for state in served:
            if has_served(state):
                self.application.take_stock(state.name)

    def _note(self, state: CollectionState) -> SideNote:
        """What an earlier process would have noted of a collection; by contents alone."""
        held, sums = self.server.points(state.name), Buckets(MIN_BUCKETS)
        digests = [wire.content_digest(Point(p, each.payload, each.vectors)) for p, each in held.items()]
        sums.add(columns_of(raw_keys.of(list(held)), None, np.array(digests, np.uint64)))
        return SideNote(instance_of(state), "", (), sums.as_json())

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
        other = Owner("uid-other", CLUSTER, "other", "docs", "docs", "docs-v2-theirs", "12345678", "v2", 0.0)
        self.server._create("docs-v2-theirs", {**body, "metadata": {"teal.dev/owner": other.as_json()}})
        self.server._create("docs-archive", body)
        self.server.aliases["docs-old"] = "docs-archive"
        self._theirs = [name for name in self.server.names if not ours(self.state(name), ME)]
        adopted = self.spec.get("adopt", {}).get("collection")
        if adopted in self._theirs and self.state(adopted).marks.owner is None:
            self._theirs.remove(adopted)
        self._as_theirs_were = self._shown_of_theirs()

    def _shown_of_theirs(self) -> Any:
        """What must not change of collections that are not ours, and of the aliases that point at them."""
        found = {
            name: (self.server.model.collections[name].config, self.server.shards[name].op_nums)
            for name in self._theirs
            if name in self.server.names
        }
        theirs = {alias: name for alias, name in self.server.aliases.items() if name in found}
        return copy.deepcopy((found, theirs))

    def leave_to_others(self, *names: str) -> None:
        """From now on nothing of these collections may change, nor of the aliases that point at them."""
        self._theirs = [*self._theirs, *names]
        self._as_theirs_were = self._shown_of_theirs()

    def _assert_theirs_untouched(self) -> None:
        assert self._shown_of_theirs() == self._as_theirs_were, "what is somebody else's was touched"

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
        marks = self.mine[0].marks
        over = [name for name in OVER if getattr(marks, name) is not None]
        assert not over, f"{over} are of no use any more\n{self.describe()}"
        version = f"{ALIAS}-{self.state(self.serving).schema.schema_version}" if self.serving else ""
        left = {alias: name for alias, name in self.server.aliases.items() if name == self.serving}
        assert set(left) == {ALIAS, version}, self.server.aliases

    def _exact(self) -> None:
        retained = self.retained
        for name in filter(None, (self.serving, retained and retained.name)):
            wrong = self.application.wrong(name)
            assert not wrong, self._lost(wrong, name)


def adopting(name: str, **config: Any) -> World:
    """A world that serves the collection `name`, which somebody else made."""
    found = Qdrant()
    found.create(name, {"vectors": {"size": 4, "distance": "Dot"}, **config})
    found.collections[name].points = dict(FOUND_POINTS)
    made = World(found=found, declared=declared(revision("small", "v1"), adopt=name))
    made.until_ready()
    return made


def _point(point: wire.RawId, collection: CollectionState) -> Stored:
    """A point of a collection that was there before, as the application would have written it."""
    number = int(wire.plain_id(point))
    return stored({"text": f"old text {number}", "n": number}, collection)


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
            "embedder": {"openAI": {"url": ENCODERS, "batchSize": 4}},
            "source": {"collection": {"textField": "text"}},
        },
    }


def _merged(old: Json, changes: Json) -> Json:
    new = copy.deepcopy(old)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(new.get(key), dict)
        new[key] = _merged(new[key], value) if both else copy.deepcopy(value)
    return new
