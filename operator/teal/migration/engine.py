"""The engine: observe, decide, do one bounded piece of ctx, report. The same with and without a cluster.

Everything that it does is found again by looking: `decide` names the next thing from what Qdrant shows, a step
does it, and the stage on the collection moves on by the transition table. A decision to act is never taken on a
cached view; a decision to rest may be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from teal.api.embedding_set import EmbeddingSet
from teal.api.unsupported import unsupported
from teal.domain.decide import Decision, Do, decide
from teal.domain.errors import HeldError, TealError, TerminalError, TransientError
from teal.domain.forecast import refuse_over_budget
from teal.domain.observed import Observed
from teal.domain.ownership import ours, stage_of
from teal.domain.plan import Desired, Identity, Population
from teal.domain.transitions import SWITCHING, Stage, may_hold_writers
from teal.migration.clock import Clock
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note, Outcome, Reads, Resource
from teal.migration.copying.forecast import Cost, estimate
from teal.migration.copying.transform import same_encoder
from teal.migration.cutover.fence import lift_fence
from teal.migration.options import Options
from teal.migration.report import embedding_set as embedding_sets
from teal.migration.report import status as report
from teal.migration.report.record import ReconcileRecord, remember
from teal.migration.resolve import connections
from teal.migration.resolve.desired import desired as resolve
from teal.migration.resolve.desired import options as resolve_options
from teal.migration.resolve.desired import windows
from teal.migration.resolve.embedders import Client, Embedders, MakeClient
from teal.migration.session import Part, Session
from teal.migration.steps import adopt, decline, delete, in_place, provision, repair, retire, roll_back
from teal.migration.steps.stages import continue_migration
from teal.migration.sync import rounds
from teal.migration.sync.memory import InStep
from teal.migration.sync.pairs import Pair, pairs_of
from teal.qdrant.pool import QdrantPool, Server
from teal.sources.embedder import OpenAIEmbedder

log = logging.getLogger(__name__)

RESYNC_SECONDS = 600.0
STALLED_SECONDS = 120.0
NOTE_AGAIN_SECONDS = 600.0

RESTING = (Do.REST, Do.STAY)
IN_STEP_SECONDS = 0.5
"""How long a step of a migration may be followed by what keeps live collections in step."""

ACTIONS = {
    Do.ADOPT: adopt.adopt,
    Do.CLAIM: adopt.claim,
    Do.LIFT_FENCE: repair.lift_fence,
    Do.PROVISION: provision.run,
    Do.CONTINUE: continue_migration,
    Do.FINISH_SWITCH: repair.finish_switch,
    Do.SET_ALIASES: repair.set_aliases,
    Do.RESTORE_ALIAS: repair.restore_alias,
    Do.SWITCH_BACK: roll_back.run,
    Do.DROP_ABANDONED: repair.drop_abandoned,
    Do.STAMP_REPLACED: repair.stamp_replaced,
    Do.RETIRE: retire.run,
    Do.DECLINE: decline.run,
    Do.LIFT_DECLINE: decline.lift,
}


@dataclass
class ErrorsNoted(Part, survives_plan=True):
    """When an error was last told as an event, by its reason, so that none is told at every step."""

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
        tune: has the last word on how a resource is migrated.
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
        self, record: EmbeddingSet, namespace: str, used_by: Sequence[str]
    ) -> Mapping[str, Any]:
        """The status of an EmbeddingSet: does its embedder answer, and with what."""
        return await self._probes.status(record, namespace, used_by, self._secrets)

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
                wanted = record.desired = await _as_owner(wanted, server)
                decision = await self._look(record, wanted, server, since=server.now())
                if decision.do is Do.PROVISION:
                    ctx = await self._work(record, wanted, server, decision, Session())
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
            await self._advance(record)
        except TealError as error:
            self._failed(record, error)
        return report.outcome(record)

    async def _advance(self, record: ReconcileRecord) -> None:
        resource = record.resource
        spec = resource.manifest.spec
        record.endpoint = spec.qdrant.url
        if resource.deleting and spec.deletion_policy == "Retain" and not may_hold_writers(resource.status):
            record.finished = True
            return
        endpoint = await connections.endpoint(spec, resource.namespace, self._secrets)
        async with self._pool.use(endpoint) as server:
            record.session.use(server)
            try:
                await self._serve(record, server)
            except TealError:
                await self._free_writers(record, server)
                raise

    async def _serve(self, record: ReconcileRecord, server: Server) -> None:
        spec = record.resource.manifest.spec
        if record.resource.deleting:
            self._require_leadership()
            record.session.stop()
            if spec.deletion_policy == "Retain":
                await self._lift_fences(record, server)
            else:
                record.notes += await delete.run(server, record.resource, self._identity(record.resource))
            record.finished = True
            return
        wanted = self._resolve(record)
        if spec.suspend:
            record.session.stop()
            await self._free_writers(record, server)
            record.observed = await server.observe(wanted.alias, wanted.adopt)
            record.suspended = True
        else:
            await self._work_a_while(record, wanted, server)

    async def _free_writers(self, record: ReconcileRecord, server: Server) -> None:
        """Whatever stops the migration, a fence that a crash left behind must not stay with it."""
        with suppress(TealError):
            self._require_leadership()
            await self._lift_fences(record, server)

    async def _lift_fences(self, record: ReconcileRecord, server: Server) -> None:
        identity = self._identity(record.resource)
        record.observed = await server.observe(record.resource.manifest.alias)
        for name, state in record.observed.states.items():
            if state.marks.fence and ours(state, identity):
                await lift_fence(server, name)

    def _identity(self, resource: Resource) -> Identity:
        return Identity(resource.uid, self._cluster, resource.namespace, resource.name)

    def _resolve(self, record: ReconcileRecord) -> Desired:
        resource = record.resource
        embedding_set = resource.embedding_set.spec if resource.embedding_set else None
        problems = unsupported(resource.manifest.spec, embedding_set)
        if problems:
            raise TerminalError("NotSupportedYet", "; ".join(problems))
        record.desired = resolve(resource, self._cluster)
        windows(resource.manifest.spec)
        return record.desired

    async def _work_a_while(self, record: ReconcileRecord, wanted: Desired, server: Server) -> None:
        """Steps until there is nothing to do, something to wait for or to show, or the slice is over."""
        until = self._clock.monotonic() + SLICE_SECONDS
        while True:
            decision = await self._look(record, wanted, server)
            if decision.do in RESTING:
                await self._keep_in_step(record, wanted, server, decision, until)
                record.session.part(ErrorsNoted).at.clear()
                record.requeue_after = self._rest(record, wanted)
                return
            if _switches(decision, record) and not may_hold_writers(record.resource.status):
                # Writers are held back only when the host knows that it must not let the resource go.
                record.requeue_after = 0.1
                return
            if decision.do is Do.RETIRE and not await self._last_round(record, wanted, server, decision, until):
                record.requeue_after = 0.0
                return
            result = await self._act(record, wanted, server, decision)
            record.notes += result.notes
            record.detail = result.detail
            shown = decision.do in (Do.PROVISION, Do.SWITCH_BACK) and decision.plan.source is not None
            if shown or result.requeue_after or self._clock.monotonic() >= until:
                record.requeue_after = result.requeue_after
                decision = await self._look(record, wanted, server)
                if decision.do is Do.CONTINUE and not _switches(decision, record):
                    await self._keep_in_step_meanwhile(record, wanted, server, decision)
                return

    async def _last_round(
        self, record: ReconcileRecord, wanted: Desired, server: Server, decision: Decision, until: float
    ) -> bool:
        """Whether what was written to a retained collection as long as it was kept has been carried over."""
        retired = record.observed.state(decision.subject) if record.observed else None
        replaced = retired.marks.replaced if retired else None
        ended = replaced.until(wanted.keep_for) if replaced else 0.0
        for memory in record.session.part(InStep).pairs.values():
            if memory.last < ended:
                memory.due = 0.0
        await self._keep_in_step(record, wanted, server, decision, until)
        kept = [
            memory for memory in record.session.part(InStep).pairs.values() if memory.retained == decision.subject
        ]
        return all(memory.last >= ended for memory in kept)

    async def _keep_in_step_meanwhile(
        self, record: ReconcileRecord, wanted: Desired, server: Server, decision: Decision
    ) -> None:
        """While it migrates or is watched: after the step, which must not fail because of this."""
        until = self._clock.monotonic() + IN_STEP_SECONDS
        try:
            await self._keep_in_step(record, wanted, server, decision, until)
        except TransientError as error:
            record.detail = record.detail or error.message
        due = record.session.part(InStep).due
        if due is not None:
            record.requeue_after = min(record.requeue_after, max(1.0, due - self._clock.monotonic()))

    async def _keep_in_step(
        self, record: ReconcileRecord, wanted: Desired, server: Server, decision: Decision, until: float
    ) -> None:
        """What was written to one of two live collections goes to the other, for each that is retained."""
        observed, in_step = record.observed, record.session.part(InStep)
        mine = [s for s in (observed.states.values() if observed else ()) if ours(s, wanted.identity)]
        pairs = pairs_of(record.serving, mine)
        in_step.keep_only((serving.name, retained.name) for serving, retained in pairs)
        for serving, retained in pairs:
            self._require_leadership()
            ctx = await self._work(record, wanted, server, decision, record.session)
            alike = same_encoder(serving.schema, retained.schema)
            ctx = replace(
                ctx, embedder=None if alike else await self._embedders.of(record.resource, wanted, serving)
            )
            back = None if alike else await self._embedders.of(record.resource, wanted, retained)
            pair = Pair(serving, retained, back, wanted.text_field)
            await rounds.keep(ctx, pair, in_step.of(serving.name, retained.name), until)

    async def _look(
        self, record: ReconcileRecord, wanted: Desired, server: Server, since: float | None = None
    ) -> Decision:
        """What was seen lately is enough to rest; what is done, or refused, is decided on what was seen since."""
        began = server.now()
        record.observed = await server.observe(wanted.alias, wanted.adopt, since=since)
        try:
            record.decision = decide(wanted, record.observed, self._clock.now())
        except TerminalError:
            if since is not None:
                raise
        else:
            if record.decision.do in RESTING or since is not None:
                return record.decision
        return await self._look(record, wanted, server, began)

    async def _act(self, record: ReconcileRecord, wanted: Desired, server: Server, decision: Decision) -> Result:
        session = record.session
        ctx = await self._work(record, wanted, server, decision, session)
        if decision.do is Do.CONTINUE and ctx.subject_state and stage_of(ctx.subject_state) is Stage.VERIFYING:
            ctx = await self._with_witnesses(record.resource, ctx)
        self._require_leadership()
        if decision.plan.source is not None:
            # A green that has to be made again is empty, whatever is remembered of the one that somebody deleted.
            session.begin(decision.plan.data_hash, afresh=decision.do is Do.PROVISION)
        if decision.do is Do.APPLY_IN_PLACE:
            return await in_place.run(ctx, decision.in_place)
        result = await ACTIONS[decision.do](ctx)
        remember(record, result)
        return result

    async def _work(
        self, record: ReconcileRecord, wanted: Desired, server: Server, decision: Decision, session: Session
    ) -> Context:
        observed: Observed = record.observed  # type: ignore[assignment]
        return Context(
            desired=wanted,
            options=self._tune(resolve_options(record.resource)),
            plan=decision.plan,
            observed=observed,
            server=server,
            session=session,
            clock=self._clock,
            subject=decision.subject or wanted.target,
            embedder=await self._embedder_for(record, wanted, decision),
            declined=decision.declined,
        )

    async def _embedder_for(self, record: ReconcileRecord, wanted: Desired, decision: Decision) -> Client | None:
        """The encoder of the plan's target: the spec's own, or that of a collection to go back to against it."""
        subject = record.observed.state(decision.subject) if record.observed else None
        if subject is not None and decision.do is Do.FINISH_SWITCH:
            return await self._embedders.of(record.resource, wanted, subject)
        if decision.plan.population is not Population.REEMBED:
            return None
        if subject is not None and decision.declined and decision.do is Do.SWITCH_BACK:
            return await self._embedders.other(record.resource, subject)
        return await self._embedders.own(record.resource)

    async def _with_witnesses(self, resource: Resource, ctx: Context) -> Context:
        """What verification asks beside Qdrant: both sides' encoders, and queries whose answers are known."""
        if ctx.source is None:
            return ctx
        return replace(
            ctx,
            embedder=await self._embedders.own(resource),
            source_embedder=await self._embedders.other(resource, ctx.source),
            judged=connections.judged(resource, self._secrets),
        )

    def _require_leadership(self) -> None:
        if not self._may_write():
            raise TransientError(
                "NotLeader", "Another operator may hold the lease by now: nothing is changed here."
            )

    def _rest(self, record: ReconcileRecord, wanted: Desired) -> float:
        """Until the next thing that is due by the clock, or the resync."""
        now = self._clock.now()
        due = [
            state.marks.replaced.until(wanted.keep_for) - now
            for state in (record.observed.states.values() if record.observed else ())
            if state.marks.replaced
        ]
        round_due = record.session.part(InStep).due
        if round_due is not None:
            due.append(max(0.5, round_due - self._clock.monotonic()))
        return max(1.0, min([RESYNC_SECONDS, *(seconds for seconds in due if seconds > 0)]))

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


def _switches(decision: Decision, record: ReconcileRecord) -> bool:
    """Whether the next step may hold writers back."""
    subject = record.observed.state(decision.subject) if record.observed else None
    if decision.plan.source is None or subject is None or decision.do not in (Do.CONTINUE, Do.SWITCH_BACK):
        return False
    return stage_of(subject) in SWITCHING


async def _as_owner(wanted: Desired, server: Server) -> Desired:
    observed = await server.observe(wanted.alias, wanted.adopt, since=server.now())
    serving = observed.state(observed.aliases.get(wanted.alias))
    owner = serving.marks.owner if serving else None
    mine = wanted.identity
    if owner is None or (owner.namespace, owner.name) != (mine.namespace, mine.name):
        return wanted
    return replace(wanted, identity=Identity(owner.uid, owner.cluster, owner.namespace, owner.name))
