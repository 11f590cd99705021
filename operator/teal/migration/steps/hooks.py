"""Hooks: HTTP requests before and after the cut-over, for teams that can pause their writers.

`beforeSwitch` is a gate: unless it answers 2xx, there is no cut-over. It is then called again after 1, 5, 10 and
30 minutes; the time is kept on green, so a restart does not call it sooner. `afterSwitch` is a notice: it is
called once, and its failure is reported and changes nothing. Either may be repeated after a crash, with the same
`Idempotency-Key`. The first revision and a rollback call no hook.

A hook may take minutes, so its request runs in the background and an edit never waits for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import httpx

from teal.domain.marks import Hooks
from teal.domain.transitions import Event
from teal.migration.clock import iso
from teal.migration.context import SLICE_SECONDS, Context, Result
from teal.migration.contract import Note
from teal.migration.options import Hook
from teal.migration.session import Part

BACK_OFF = (60.0, 300.0, 600.0, 1800.0)
POLL_SECONDS = 0.1
PAUSE_SECONDS = 0.5
LONGEST_PAUSE = 30.0

BEFORE, AFTER = "beforeSwitch", "afterSwitch"


@dataclass
class HookRequest(Part, survives_plan=False):
    """The request under way. Its result is `None` if the hook answered 2xx, else the reason in words."""

    task: asyncio.Task[str | None] | None = None

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            self.task = None


async def before_switch(ctx: Context) -> Result:
    """APPROVED when the hook has answered 2xx, or there is none; else what to wait for."""
    hook, known = ctx.options.before_switch, _known(ctx)
    if hook is None:
        return Result(Event.APPROVED)
    wait = known.not_before - ctx.clock.now()
    if 0 < wait <= BACK_OFF[-1]:
        return Result(requeue_after=wait, detail=_closed(known))
    if not await _over(ctx, hook, BEFORE, SLICE_SECONDS):
        return Result(requeue_after=POLL_SECONDS, detail=(known.message and _closed(known)) or _asking(hook))
    refused = _answer(ctx)
    if refused is None:
        return Result(
            Event.APPROVED,
            (
                Note(
                    "GateOpened",
                    f"The hook {BEFORE} ({hook.url}) answered 2xx: the cut-over may begin.",
                    "Promote",
                ),
            ),
        )
    pause = BACK_OFF[min(known.refusals, len(BACK_OFF) - 1)]
    closed = replace(
        known, refusals=known.refusals + 1, not_before=ctx.clock.now() + pause, message=f"{hook.url} {refused}"
    )
    await _remember(ctx, closed)
    first = Note("GateClosed", f"{_closed(closed)} There is no cut-over meanwhile.", "Promote", warning=True)
    return Result(notes=(first,) if closed.refusals == 1 else (), requeue_after=pause, detail=_closed(closed))


async def after_switch(ctx: Context) -> tuple[bool, tuple[Note, ...]]:
    """Whether the hook has been called, if there is one; and the Note if it failed."""
    hook, known = ctx.options.after_switch, _known(ctx)
    if hook is None or known.told:
        return True, ()
    if not await _over(ctx, hook, AFTER, 0.0):
        return False, ()
    failed = _answer(ctx)
    await _remember(ctx, replace(known, told=True))
    if failed is None:
        return True, ()
    message = f"The hook {AFTER} failed: {hook.url} {failed}. The cut-over is not undone."
    return True, (Note("HookFailed", message, "Promote", warning=True),)


def _known(ctx: Context) -> Hooks:
    """What the hooks have answered to this attempt of this migration."""
    state = ctx.the_subject()
    migration = state.marks.migration
    name = migration.id if migration else ""
    mark = state.marks.hooks
    return mark if mark and mark.migration == name else Hooks(name)


async def _remember(ctx: Context, known: Hooks) -> None:
    await ctx.server.mark(ctx.subject, known)


def _closed(known: Hooks) -> str:
    again = iso(known.not_before)
    return f"The hook {BEFORE} does not let the cut-over begin: {known.message}. It is called again at {again}."


def _asking(hook: Hook) -> str:
    return f"Waiting for the answer of the hook {BEFORE} ({hook.url})."


async def _over(ctx: Context, hook: Hook, name: str, seconds: float) -> bool:
    """Begin the request if none is under way, and wait for it up to `seconds`: whether it has ended."""
    request = ctx.session.part(HookRequest)
    if request.task is None:
        request.task = asyncio.create_task(post(hook, _body(ctx, name), f"{_known(ctx).migration}/{name}"))
        await asyncio.sleep(0)
    done, _ = await asyncio.wait({request.task}, timeout=seconds)
    return bool(done)


def _answer(ctx: Context) -> str | None:
    request = ctx.session.part(HookRequest)
    task, request.task = request.task, None
    if task is None:
        raise LookupError("no hook was asked")
    return task.result()


def _body(ctx: Context, name: str) -> dict[str, Any]:
    migration = ctx.the_subject().marks.migration
    identity = ctx.desired.identity
    return {
        "hook": name,
        "phase": migration.stage.value if migration else None,
        "planHash": migration.plan_hash if migration else None,
        "migration": migration.id if migration else None,
        "source": migration.source if migration else None,
        "target": ctx.subject,
        "alias": ctx.desired.alias,
        "resource": {"namespace": identity.namespace, "name": identity.name, "uid": identity.uid},
    }


async def post(hook: Hook, body: dict[str, Any], key: str) -> str | None:
    """Call until the answer is 2xx or the attempts are used up: `None`, or the reason in words."""
    why = ""
    async with httpx.AsyncClient(timeout=hook.timeout, follow_redirects=False) as client:
        for attempt in range(hook.retries + 1):
            if attempt:
                await asyncio.sleep(min(LONGEST_PAUSE, PAUSE_SECONDS * 2 ** (attempt - 1)))
            failed = await _attempt(client, hook, body, key)
            if failed is None:
                return None
            why = f"{failed} ({attempt + 1} attempts)" if attempt else failed
    return why


async def _attempt(client: httpx.AsyncClient, hook: Hook, body: dict[str, Any], key: str) -> str | None:
    try:
        async with asyncio.timeout(hook.timeout):
            # Teal does not use the answer's body, so it is not read.
            async with client.stream("POST", hook.url, json=body, headers={"Idempotency-Key": key}) as response:
                return None if response.is_success else f"answered {response.status_code}"
    except (TimeoutError, httpx.TimeoutException):
        return f"did not answer within {hook.timeout:g} s"
    except (httpx.RequestError, httpx.InvalidURL) as error:
        return f"cannot be reached: {str(error) or type(error).__name__}"
