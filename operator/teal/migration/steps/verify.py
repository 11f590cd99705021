"""Verifying: catch up, then compare green with blue; the verdict is kept on green and is sticky for this plan.

Every question is asked of Qdrant again, none is answered from what Teal believes to have done. A comparison can
take minutes, so it goes on in the background while this step is called again and again; it is dropped and begun
anew when the plan or what is asked for changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from teal.domain import marks
from teal.domain.plan import Population
from teal.domain.transitions import Event
from teal.domain.verdict import Check, Verdict, as_mark, overall
from teal.migration.context import SLICE_SECONDS, Result, Work
from teal.migration.contract import Note
from teal.migration.copying import copy_pass
from teal.migration.verification.background import Running
from teal.migration.verification.comparison import Comparison, Encoders, Gates, Side

AGAIN_SECONDS, AGAIN_AT_MOST = 10.0, 300.0


async def run(work: Work) -> Result:
    """Wait for the answers a moment; with all of them, judge."""
    if work.source is None:
        return Result(Event.VERIFIED)
    running = await _running(work)
    if running is None:
        return Result(detail="catching up before the comparison")
    checks = await _answers(work, running)
    if checks is None:
        return Result(detail=running.said)
    await work.server.admin.mark(work.subject, {marks.VERDICT: as_mark(work.plan.hash, checks)})
    work.server.invalidate(work.subject)
    return _judge(work, checks)


async def _running(work: Work) -> Running | None:
    """The comparison under way for this very plan and attempt; `None` while a pass goes first."""
    session, migration = work.session, work.the_target().marks.migration
    key = (work.plan.hash, migration and migration.id, work.options)
    if session.verification is not None and session.verification.key != key:
        session.verification.cancel()
        session.verification = None
    if session.verification is None:
        if not await copy_pass.advance(work, work.clock.monotonic() + SLICE_SECONDS):
            return None
        session.judged = await work.server.admin.quiescence(work.subject)
        session.verification = Running(key, comparison(work))
    return session.verification


async def _answers(work: Work, running: Running) -> list[Check] | None:
    try:
        checks = await running.wait(SLICE_SECONDS)
    except BaseException:
        work.session.verification = None
        running.cancel()
        raise
    if checks is not None:
        work.session.verification = None
    return checks


def comparison(work: Work) -> Comparison:
    """What is compared for this plan: green must hold what the last pass saw on blue."""
    ledger, options = work.session.ledger, work.options
    if ledger is None:
        raise LookupError("a pass leaves a ledger")
    return Comparison(
        blue=Side(work.server, work.the_source()),
        green=Side(work.server, work.the_target()),
        known=ledger.versions,
        same_vectors=work.plan.population is Population.COPY,
        tuning=work.plan.tuning,
        gates=Gates(options.min_coverage, options.min_overlap, options.min_recall, options.max_latency_ratio),
        sample=options.sample,
        encoders=Encoders(work.source_embedder, work.embedder, work.desired.text_field),
        judged=work.judged,
        clock=work.clock,
    )


def _judge(work: Work, checks: list[Check]) -> Result:
    verdict = overall(checks)
    if verdict is Verdict.PASSED:
        work.session.unverified = 0
        return Result(Event.VERIFIED, (Note("VerificationPassed", _said(checks), "Verify"),))
    if verdict is Verdict.FAILED:
        failed = _said(check for check in checks if check.verdict is Verdict.FAILED)
        text = f"{failed}. {work.the_source().name} keeps serving."
        return Result(Event.FAILED, (Note("VerificationFailed", text, "Verify", warning=True),), detail=failed)
    return _ask_again(work, checks, verdict)


def _ask_again(work: Work, checks: list[Check], verdict: Verdict) -> Result:
    """No answer is no verdict: blue keeps serving, and green is asked again, less and less often."""
    open_ = _said(c for c in checks if c.verdict is Verdict.ERROR or (c.gate and c.verdict is verdict))
    again = min(AGAIN_AT_MOST, AGAIN_SECONDS * 2**work.session.unverified)
    text = f"{open_}. Asked again in {again:.0f} s."
    first = work.session.unverified == 0
    work.session.unverified += 1
    notes = (Note(f"Verification{verdict}", text, "Verify", warning=True),) if first else ()
    return Result(notes=notes, requeue_after=again, detail=text)


def _said(checks: Iterable[Check]) -> str:
    return "; ".join(f"{check.name}: {check.message}" for check in checks)
