"""Verifying: catch up, then compare green with blue; the verdict is kept on green and holds for this plan.

Every check reads from Qdrant; none relies on what Teal believes to have done. A comparison can take minutes, so it
runs in the background while this step is called repeatedly. It starts again when the plan or the thresholds
change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from teal.domain.marks import StoredVerdict
from teal.domain.plan import Population
from teal.domain.transitions import Event
from teal.domain.verdict import Check, Verdict, overall
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.copying.memory import CopyMemory
from teal.migration.session import Part
from teal.migration.verification.background import Running
from teal.migration.verification.comparison import Comparison, Gates, Side, SideEncoders
from teal.migration.verification.known import Known
from teal.qdrant.collection import Quiescence

AGAIN_SECONDS, AGAIN_AT_MOST = 10.0, 300.0


@dataclass
class VerifyMemory(Part, survives_plan=False):
    """The comparison in the background, and which state of green the verdict is about.

    Attributes:
        running: the comparison under way.
        unanswered: how often in a row there was no verdict.
        verified_at: green's `op_num`s when it was compared; `None` if unknown, or if green has changed since.
    """

    running: Running | None = None
    unanswered: int = 0
    verified_at: Quiescence | None = None

    def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            self.running = None


async def run(ctx: Context) -> Result:
    """Wait a moment for the checks; with all of them, give the verdict."""
    if ctx.source is None:
        return Result(Event.VERIFIED)
    running = await _running(ctx)
    if running is None:
        return Result(detail="catching up before the comparison")
    checks = await _answers(ctx, running)
    if checks is None:
        return Result(detail=running.said)
    await ctx.server.mark(ctx.subject, StoredVerdict.of(ctx.plan.hash, checks))
    return _judge(ctx, checks)


async def _running(ctx: Context) -> Running | None:
    """The comparison under way for this very plan and attempt; `None` while a pass goes first."""
    memory, migration = ctx.session.part(VerifyMemory), ctx.the_subject().marks.migration
    key = (ctx.plan.hash, migration and migration.id, ctx.options)
    if memory.running is not None and memory.running.key != key:
        memory.stop()
    if memory.running is None:
        if not await copy_pass.advance(ctx, ctx.clock.monotonic() + SLICE_SECONDS):
            return None
        memory.verified_at = await ctx.server.admin.quiescence(ctx.subject)
        memory.running = Running(key, await comparison(ctx))
    return memory.running


async def _answers(ctx: Context, running: Running) -> list[Check] | None:
    memory = ctx.session.part(VerifyMemory)
    try:
        checks = await running.wait(SLICE_SECONDS)
    except BaseException:
        memory.stop()
        raise
    if checks is not None:
        memory.running = None
    return checks


async def comparison(ctx: Context) -> Comparison:
    """What is compared for this plan: green must hold what the last pass saw on blue."""
    ledgers, options = ctx.session.part(CopyMemory).the_ledgers, ctx.options
    return Comparison(
        blue=Side(ctx.server, ctx.the_source()),
        green=Side(ctx.server, ctx.the_subject()),
        known=Known(ctx.server, ctx.the_source(), ledgers.source, ctx.observed.version),
        same_vectors=ctx.plan.population is Population.COPY,
        tuning=ctx.plan.tuning.without_limits,
        gates=Gates(options.min_coverage, options.min_overlap, options.min_recall, options.max_latency_ratio),
        sample=options.sample,
        encoders=SideEncoders(
            await ctx.encoders.other(ctx.the_source()), await ctx.encoders.own(), ctx.desired.text_field
        ),
        judged=ctx.encoders.judged(),
        clock=ctx.clock,
        warm_up=options.latency_warm_up,
        searches=options.latency_searches,
    )


def _judge(ctx: Context, checks: list[Check]) -> Result:
    verdict = overall(checks)
    if verdict is Verdict.PASSED:
        ctx.session.part(VerifyMemory).unanswered = 0
        return Result(Event.VERIFIED, (Note("VerificationPassed", _said(checks), "Verify"),))
    if verdict is Verdict.FAILED:
        failed = _said(check for check in checks if check.verdict is Verdict.FAILED)
        text = f"{failed}. {ctx.the_source().name} keeps serving."
        return Result(Event.FAILED, (Note("VerificationFailed", text, "Verify", warning=True),), detail=failed)
    return _ask_again(ctx, checks, verdict)


def _ask_again(ctx: Context, checks: list[Check], verdict: Verdict) -> Result:
    """No verdict yet: blue keeps serving, and the checks are made again, with backoff."""
    memory = ctx.session.part(VerifyMemory)
    open_ = _said(c for c in checks if c.verdict is Verdict.ERROR or (c.gate and c.verdict is verdict))
    again = min(AGAIN_AT_MOST, AGAIN_SECONDS * 2**memory.unanswered)
    text = f"{open_}. Checked again in {again:.0f} s."
    first = memory.unanswered == 0
    memory.unanswered += 1
    notes = (Note(f"Verification{verdict}", text, "Verify", warning=True),) if first else ()
    return Result(notes=notes, requeue_after=again, detail=text)


def _said(checks: Iterable[Check]) -> str:
    return "; ".join(f"{check.name}: {check.message}" for check in checks)
