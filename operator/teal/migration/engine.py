"""The engine: observe, decide, do one bounded piece of work, report. The same with and without a cluster.

The engine is level-triggered: `decide` names the next action from what Qdrant shows, a step carries it out, and
the stage on the collection changes by the transition table. A decision to act is never taken on a cached view; a
decision to rest may be.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from teal.api.embedding_set import EmbeddingSet
from teal.api.unsupported import unsupported
from teal.domain.errors import HeldError, TealError, TerminalError, TransientError
from teal.domain.forecast import refuse_over_budget
from teal.domain.ownership import mine
from teal.domain.plan import Desired, Identity
from teal.domain.policy import Decision, Do, Rounds, RoundTimes, View, decide_on
from teal.migration.clock import Clock
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note, Outcome, Reads, Resource
from teal.migration.copying.forecast import Cost, estimate
from teal.migration.cutover.fence import lift_fence
from teal.migration.freshness import become_fresh
from teal.migration.options import Options
from teal.migration.report import embedding_set as embedding_sets
from teal.migration.report import status as report
from teal.migration.report.record import ReconcileRecord, remember
from teal.migration.resolve import connections
from teal.migration.resolve.desired import check_windows
from teal.migration.resolve.desired import desired as resolve
from teal.migration.resolve.desired import options as resolve_options
from teal.migration.resolve.embedders import Embedders, MakeClient, ResourceEncoders
from teal.migration.session import Part, Session
from teal.migration.steps import delete
from teal.migration.steps.registry import REGISTRY, may_hold_writers
from teal.migration.sync.memory import PairMemories
from teal.qdrant.pool import QdrantPool, Server
from teal.sources.embedder import OpenAIEmbedder

log = logging.getLogger(__name__)

STALLED_SECONDS = 120.0
NOTE_AGAIN_SECONDS = 600.0
UNGUARDED_SECONDS = 0.1


@dataclass
class ErrorsNoted(Part, survives_plan=True):
    """When each error, by its reason, was last posted as an Event, so that it is not posted at every step."""

    at: dict[str, float] = field(default_factory=dict)


class Engine:
    """Reconciles resources against their Qdrants.

    Args:
        secrets: reads Secrets, and ConfigMaps, when they are used.
        cluster: names this cluster in ownership marks, so that two clusters cannot own one collection.
        may_write: asked before everything that changes Qdrant; no step begins where it says no, as in an operator
            that has lost its lease.
        clock: the time; tests pass their own.
        pool: the connections; shared by all resources.
        tune: may change the options of every resource.
        make_embedder: makes the client of an embedding server.
    """

    def __init__(
        self,
        secrets: Reads,
        cluster: str,
        may_write: Callable[[], bool] = lambda: True,
        *,
        clock: Clock | None = None,
        pool: QdrantPool | None = None,
        tune: Callable[[Options], Options] = lambda options: options,
        make_embedder: MakeClient = OpenAIEmbedder,
    ) -> None:
        self._secrets = secrets
        self._may_write = may_write
        self._cluster = cluster
        self._clock = clock or Clock()
        self._pool = pool or QdrantPool(clock=self._clock.monotonic)
        self._sessions: dict[str, Session] = {}
        self._embedders = Embedders(secrets, make_embedder)
        self._tune = tune
        self._probes = embedding_sets.Probes(self._clock)

    async def close(self) -> None:
        """End what goes on between two steps, and all connections."""
        for session in self._sessions.values():
            session.stop()
        await self._embedders.close_all()
        await self._pool.close()

    def session_of(self, uid: str) -> Session:
        """What this process remembers of one resource."""
        return self._sessions.setdefault(uid, Session())

    async def forget(self, uid: str) -> None:
        """The resource is gone: drop what is remembered of it. Qdrant is not touched."""
        session = self._sessions.pop(uid, None)
        if session:
            session.stop()
        await self._embedders.close(uid)

    async def inspect_embedding_set(
        self, embedding_set: EmbeddingSet, namespace: str, used_by: Sequence[str]
    ) -> Mapping[str, Any]:
        """The status of an EmbeddingSet: does its embedder answer, and with what."""
        return await self._probes.status(embedding_set, namespace, used_by, self._secrets)

    async def plan(self, resource: Resource) -> ReconcileRecord:
        """What `reconcile` would do next, and why; nothing is touched.

        Asked on behalf of whoever owns the serving collection, if the resource has that owner's namespace and
        name: so a pipeline outside the cluster sees what the operator in it would do.
        """
        record = ReconcileRecord(resource, self._clock.now())
        try:
            wanted = self._resolve(record)
            endpoint = await connections.endpoint(resource.manifest.spec, resource.namespace, self._secrets)
            async with self._pool.use(endpoint) as server:
                record.desired = await _as_owner(wanted, server)
                view, decision = await self._look(record, server, since=server.now())
                if decision.do is Do.PROVISION:
                    ctx = await self._context(record, server, view, decision)
                    figures = record.session.part(Cost).forecast = await estimate(ctx)
                    refuse_over_budget(figures, ctx.options.max_tokens)
        except TealError as error:
            record.error = error
        return record

    async def reconcile(self, resource: Resource) -> Outcome:
        """One bounded step towards what `resource` declares. Expected errors end in its status, not here."""
        session = self.session_of(resource.uid)
        record = ReconcileRecord(resource, self._clock.now(), session, identity=self._identity(resource))
        try:
            await self._connected(record)
        except TealError as error:
            self._failed(record, error)
        return report.outcome(record)

    async def _connected(self, record: ReconcileRecord) -> None:
        resource = record.resource
        spec = resource.manifest.spec
        record.endpoint = spec.qdrant.url
        if resource.deleting and spec.deletion_policy == "Retain" and not resource.guarded:
            record.finished = True
            return
        endpoint = await connections.endpoint(spec, resource.namespace, self._secrets)
        async with self._pool.use(endpoint) as server:
            record.session.use(server)
            try:
                await self._become_fresh(record, server)
                if resource.deleting:
                    await self._let_go(record, server)
                elif spec.suspend:
                    await self._suspend(record, server)
                else:
                    await self._work(record, server)
            except TealError:
                await self._try_to_lift_all_fences(record, server)
                raise

    async def _become_fresh(self, record: ReconcileRecord, server: Server) -> None:
        """Before anything is decided from what a peer shows."""
        manifest = record.resource.manifest
        adopt = manifest.spec.adopt.collection if manifest.spec.adopt else None
        identity = self._identity(record.resource)
        await become_fresh(
            record.session, server, identity, manifest.alias, adopt, before_write=self._require_leadership
        )

    async def _let_go(self, record: ReconcileRecord, server: Server) -> None:
        """The resource is deleted: lift its fences, and delete what it owns if its policy says so."""
        self._require_leadership()
        record.session.stop()
        await self._lift_all_fences(record, server)
        if record.resource.manifest.spec.deletion_policy == "Delete":
            record.notes += await delete.run(server, record.resource, self._identity(record.resource))
        record.finished = True

    async def _suspend(self, record: ReconcileRecord, server: Server) -> None:
        wanted = self._resolve(record)
        record.session.stop()
        await self._try_to_lift_all_fences(record, server)
        record.observed = await server.observe(wanted.alias, wanted.adopt)
        record.suspended, record.needs_guard = True, False

    async def _work(self, record: ReconcileRecord, server: Server) -> None:
        """Step by step, until there is nothing to do, something to wait for or to show, or the time is used up."""
        self._resolve(record)
        until = self._clock.monotonic() + SLICE_SECONDS
        while True:
            view, decision = await self._look(record, server)
            log.debug("%s %s, by the rule %s", decision.do, decision.subject or "", decision.rule)
            action = REGISTRY[decision.do]
            if may_hold_writers(decision) and not record.resource.guarded:
                record.requeue_after, record.needs_guard = UNGUARDED_SECONDS, True
                return
            result = await self._act(record, await self._context(record, server, view, decision, until))
            record.take(result)
            if action.rests:
                record.session.part(ErrorsNoted).at.clear()
                return
            if (action.shows and decision.plan.source) or result.requeue_after or self._clock.monotonic() >= until:
                await self._look(record, server)
                return

    async def _act(self, record: ReconcileRecord, ctx: Context) -> Result:
        """Carry out what was decided, if this process still leads."""
        self._require_leadership()
        if ctx.plan.source is not None:
            # A green that has to be made again is empty, whatever is remembered of the one that somebody deleted.
            ctx.session.begin(ctx.plan.data_hash, afresh=ctx.decision.do is Do.PROVISION)
        result = await REGISTRY[ctx.decision.do].run(ctx)
        remember(record, result)
        return result

    async def _look(
        self, record: ReconcileRecord, server: Server, since: float | None = None
    ) -> tuple[View, Decision]:
        """Observe and decide. A recent observation is enough to rest, or to keep collections in step.

        Any other action, and any refusal, is decided on an observation made after this call began.
        """
        wanted = record.the_desired()
        began = server.now()
        observed = record.observed = await server.observe(wanted.alias, wanted.adopt, since=since)
        view = View(wanted, observed, self._clock.now(), self._rounds(record))
        try:
            decision = decide_on(view)
        except TerminalError:
            if since is not None:
                raise
        else:
            record.decision, record.needs_guard = decision.main, self._needs_guard(view, decision)
            if since is not None or REGISTRY[decision.main.do].rests:
                return view, decision
        return await self._look(record, server, began)

    def _needs_guard(self, view: View, decision: Decision) -> bool:
        """A fence is up, or the next step may raise one: the finalizer makes sure that it is lifted."""
        return may_hold_writers(decision) or any(state.marks.fence for state in view.mine.values())

    async def _context(
        self,
        record: ReconcileRecord,
        server: Server,
        view: View,
        decision: Decision,
        until: float = math.inf,
    ) -> Context:
        encoders = ResourceEncoders(self._embedders, record.resource, view.desired, self._secrets)
        subject = view.observed.state(decision.subject)
        return Context(
            view=view,
            decision=decision,
            options=self._tune(resolve_options(record.resource)),
            server=server,
            session=record.session,
            clock=self._clock,
            until=until,
            encoders=encoders,
            embedder=await encoders.of_target(decision, subject),
        )

    def _rounds(self, record: ReconcileRecord) -> Rounds:
        """When this process last kept each pair in step, as wall-clock times, which the policy uses."""
        ahead = self._clock.now() - self._clock.monotonic()
        known = record.session.part(PairMemories).pairs.items()
        return {key: RoundTimes(memory.last, memory.due + ahead) for key, memory in known}

    async def _try_to_lift_all_fences(self, record: ReconcileRecord, server: Server) -> None:
        """Before an error is reported or a resource is suspended: no fence may stay. Errors are ignored here.

        The next reconcile tries again."""
        with suppress(TealError):
            self._require_leadership()
            await self._lift_all_fences(record, server)

    async def _lift_all_fences(self, record: ReconcileRecord, server: Server) -> None:
        """Every fence on a collection of this resource, found by its mark: a status can be lost."""
        identity = self._identity(record.resource)
        alias, adopt = record.resource.manifest.alias, record.resource.manifest.spec.adopt
        seen = await server.observe(alias, adopt.collection if adopt else None, since=server.now())
        record.observed = seen
        for name, state in mine(seen, identity).items():
            if state.marks.fence:
                await lift_fence(server, name)

    def _identity(self, resource: Resource) -> Identity:
        return Identity(resource.uid, self._cluster, resource.namespace, resource.name, resource.manifest.alias)

    def _resolve(self, record: ReconcileRecord) -> Desired:
        resource = record.resource
        embedding_set = resource.embedding_set.spec if resource.embedding_set else None
        problems = unsupported(resource.manifest.spec, embedding_set)
        if problems:
            raise TerminalError("NotSupportedYet", "; ".join(problems))
        record.desired = resolve(resource, self._cluster)
        check_windows(resource.manifest.spec)
        return record.desired

    def _require_leadership(self) -> None:
        if not self._may_write():
            raise TransientError(
                "NotLeader", "This operator may have lost its lease to another one, so it changes nothing."
            )

    def _failed(self, record: ReconcileRecord, error: TealError) -> None:
        noted = record.session.part(ErrorsNoted).at
        record.error = error
        if self._clock.now() - noted.get(error.reason, 0.0) > NOTE_AGAIN_SECONDS:
            noted[error.reason] = self._clock.now()
            record.notes.append(Note(error.reason, error.message, warning=True))
        if isinstance(error, TransientError):
            record.failed = error.retry_after is None
            record.requeue_after = error.retry_after or 1.0
        elif isinstance(error, TerminalError | HeldError):
            record.requeue_after = STALLED_SECONDS


async def _as_owner(wanted: Desired, server: Server) -> Desired:
    observed = await server.observe(wanted.alias, wanted.adopt, since=server.now())
    serving = observed.state(observed.aliases.get(wanted.alias))
    owner = serving.marks.owner if serving else None
    identity = wanted.identity
    if owner is None or (owner.namespace, owner.name) != (identity.namespace, identity.name):
        return wanted
    return replace(wanted, identity=replace(identity, uid=owner.uid, cluster=owner.cluster))
