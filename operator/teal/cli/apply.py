"""`teal apply -f`: reconcile manifests directly against Qdrant, without a cluster, with a progress bar."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from teal.cli.complaints import complaints
from teal.cli.options import DEFAULT_NAMESPACE, Files, Namespace, Output
from teal.cli.progress import progress_of

if TYPE_CHECKING:
    from teal.cli.manifests import Manifests
    from teal.migration.contract import Outcome, Resource
    from teal.migration.engine import Engine

LINE_SECONDS = 5.0
FAILED_PAUSE = 2.0

STALLED, LATE, INTERRUPTED = 1, 3, 130


class End(Enum):
    """Why work on a resource ended."""

    READY = "ready"
    STALLED = "stalled"
    LATE = "late"


@dataclass(frozen=True)
class Patience:
    """How long to wait: at most `seconds` (0: no limit); with `watch`, also for spec.watch.duration."""

    seconds: float
    watch: bool

    def end(self, outcome: Outcome, waited: float) -> End | None:
        """How it ended; `None` if it has not."""
        waits = outcome.requeue_after > 0  # else something is left that is due now, such as a retirement
        if _is(outcome, "Ready") and waits and (not self.watch or outcome.status["phase"] == "Ready"):
            return End.READY
        if _is(outcome, "Stalled"):
            return End.STALLED
        return End.LATE if self.seconds and waited > self.seconds else None


def apply(
    files: Files,
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: Output = "text",
    timeout: Annotated[float, typer.Option(help="Give up after this many seconds; 0: never.", min=0)] = 0.0,
    watch: Annotated[bool, typer.Option("--watch", help="Also wait for spec.watch.duration.")] = False,  # noqa: FBT002
) -> None:
    """Make Qdrant match the manifests, and wait until it does.

    You can interrupt it at any time and run it again: it continues where it stopped. The first run after the end
    of a retention deletes the replaced collection. Exit status: 0 when everything is ready, 1 when something is
    stalled or held, 3 after the timeout, 130 when interrupted.
    """
    from teal.api.manifest import ManifestError
    from teal.cli.manifests import load

    with complaints("apply", ManifestError):
        manifests = load(files, namespace)
    try:
        done = asyncio.run(_apply(manifests, Patience(timeout, watch)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("teal apply: interrupted; the same command continues where it stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if output == "json":
        statuses = {key: dict(outcome.status) for key, (outcome, _) in done.items()}
        Console(soft_wrap=True).print_json(json.dumps(statuses))
    ends = {end for _, end in done.values()}
    if End.LATE in ends:
        raise typer.Exit(LATE)
    if End.STALLED in ends:
        raise typer.Exit(STALLED)


async def _apply(manifests: Manifests, patience: Patience) -> dict[str, tuple[Outcome, End]]:
    from teal.cli.manifests import CLUSTER
    from teal.migration.engine import Engine

    _stop_on_sigterm()
    console = Console(stderr=True, soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}", markup=False), console=console, disable=not console.is_terminal,
    )  # fmt: skip
    engine = Engine(manifests.secrets, CLUSTER)
    resources = manifests.resources
    try:
        with bar:
            tasks = [_until_done(each, engine, Shown(each.key, bar, console), patience) for each in resources]
            ended = await asyncio.gather(*tasks)
    finally:
        await engine.close()
    return {each.key: end for each, end in zip(resources, ended, strict=True)}


def _stop_on_sigterm() -> None:
    """Cancel on SIGTERM as on Ctrl-C, so that a cancelled pipeline leaves no fence behind."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _until_done(resource: Resource, engine: Engine, shown: Shown, patience: Patience) -> tuple[Outcome, End]:
    began = time.monotonic()
    while True:
        outcome = await engine.reconcile(resource)
        resource = replace(resource, status=outcome.status)
        shown.show(outcome)
        end = patience.end(outcome, time.monotonic() - began)
        if end:
            return outcome, end
        await asyncio.sleep(FAILED_PAUSE if outcome.failed else min(outcome.requeue_after, LINE_SECONDS))


def _is(outcome: Outcome, kind: str) -> bool:
    found = (c for c in outcome.status["conditions"] if c["type"] == kind)
    return any(condition["status"] == "True" for condition in found)


class Shown:
    """The output line of one resource: a bar on a terminal; else a line at each phase and every few seconds."""

    def __init__(self, key: str, bar: Progress, console: Console) -> None:
        self._key, self._bar, self._console = key, bar, console
        self._task = bar.add_task(key, total=100, detail="")
        self._phase, self._at = "", 0.0

    def show(self, outcome: Outcome) -> None:
        for note in outcome.notes:
            style = "yellow" if note.warning else "green"
            message = f"[{style}]{note.reason}[/{style}] {escape(note.message)}"
            self._console.print(f"{self._key}: {message}", highlight=False)
        phase = str(outcome.status["phase"])
        done, detail = progress_of(outcome.status)
        self._bar.update(self._task, description=f"{self._key} {phase}", completed=done, detail=detail)
        due = phase != self._phase or time.monotonic() - self._at > LINE_SECONDS
        if self._bar.disable and due:
            self._console.print(f"{self._key}: {phase} {detail}".rstrip(), highlight=False, markup=False)
            self._phase, self._at = phase, time.monotonic()
