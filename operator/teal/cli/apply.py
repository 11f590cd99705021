"""`teal apply -f`: reconcile manifests straight against Qdrant, without a cluster, with a progress bar."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from teal.cli.manifests import CLUSTER, DEFAULT_NAMESPACE, load
from teal.cli.options import Files, Namespace, Output
from teal.migration.contract import Outcome, Resource
from teal.migration.engine import Engine

LINE_SECONDS = 5.0
FAILED_PAUSE = 2.0


def apply(
    files: Files,
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: Output = "text",
    timeout: Annotated[float, typer.Option(help="Give up after this many seconds; 0: never.", min=0)] = 0.0,
    watch: Annotated[bool, typer.Option("--watch", help="Also stay for spec.watch.duration.")] = False,  # noqa: FBT002
) -> None:
    """Make Qdrant match the manifests, and stay until it does.

    Can be interrupted at any moment and run again: it goes on where it stopped. What was replaced is deleted by
    the first run after its retention. Exit status: 0 when everything is ready, 1 when something is stalled or
    held, 3 when the time is over.
    """
    manifests = load(files, namespace)
    done = asyncio.run(_apply(manifests.resources, Engine(manifests.secrets, CLUSTER), timeout, watch))
    if output == "json":
        Console(soft_wrap=True).print_json(json.dumps({key: dict(each.status) for key, each in done.items()}))
    if any(not _is(each, "Ready") and not _is(each, "Stalled") for each in done.values()):
        raise typer.Exit(3)
    if any(_is(each, "Stalled") for each in done.values()):
        raise typer.Exit(1)


async def _apply(
    resources: list[Resource],
    engine: Engine,
    timeout: float,
    watch: bool,  # noqa: FBT001
) -> dict[str, Outcome]:
    console = Console(stderr=True, soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}"), console=console, disable=not console.is_terminal,
    )  # fmt: skip
    try:
        with bar:
            tasks = [
                _until_done(each, engine, Shown(each.key, bar, console), timeout, watch) for each in resources
            ]
            outcomes = await asyncio.gather(*tasks)
    finally:
        await engine.close()
    return {each.key: found for each, found in zip(resources, outcomes, strict=True)}


async def _until_done(
    resource: Resource,
    engine: Engine,
    shown: Shown,
    timeout: float,
    watch: bool,  # noqa: FBT001
) -> Outcome:
    began = time.monotonic()
    while True:
        outcome = await engine.reconcile(resource)
        resource = replace(resource, status=outcome.status)
        shown.show(outcome)
        over = timeout and time.monotonic() - began > timeout
        if over or _is(outcome, "Stalled") or _settled(outcome, watch):
            return outcome
        await asyncio.sleep(FAILED_PAUSE if outcome.failed else min(outcome.requeue_after, LINE_SECONDS))


def _settled(outcome: Outcome, watch: bool) -> bool:  # noqa: FBT001
    return _is(outcome, "Ready") and (not watch or outcome.status["phase"] == "Ready")


def _is(outcome: Outcome, kind: str) -> bool:
    found = (c for c in outcome.status["conditions"] if c["type"] == kind)
    return any(condition["status"] == "True" for condition in found)


class Shown:
    """One resource's line: a bar on a terminal; elsewhere a line when the phase changes and now and then."""

    def __init__(self, key: str, bar: Progress, console: Console) -> None:
        self._key, self._bar, self._console = key, bar, console
        self._task = bar.add_task(key, total=100, detail="")
        self._phase, self._at = "", 0.0

    def show(self, outcome: Outcome) -> None:
        for note in outcome.notes:
            style = "yellow" if note.warning else "green"
            self._console.print(f"[{style}]{note.reason}[/{style}] {note.message}", highlight=False)
        phase = str(outcome.status["phase"])
        done, detail = progress_of(outcome.status)
        self._bar.update(self._task, description=f"{self._key} {phase}", completed=done, detail=detail)
        due = phase != self._phase or time.monotonic() - self._at > LINE_SECONDS
        if self._bar.disable and due:
            self._console.print(f"{self._key}: {phase} {detail}".rstrip(), highlight=False)
            self._phase, self._at = phase, time.monotonic()


def progress_of(status: Mapping[str, Any]) -> tuple[float, str]:
    """Percent, and the rest in words: points, rate, time left, why it waits."""
    if status["phase"] in ("Ready", "Watching"):
        return 100.0, f"{(status.get('active') or {}).get('collection', '')}"
    found = (status.get("migration") or {}).get("progress") or {}
    if not found:
        return 0.0, ""
    parts = [f"{found.get('pointsDone', 0):,}/{found.get('pointsTotal', 0):,} points"]
    if "pointsPerSecond" in found:
        parts.append(f"{found['pointsPerSecond']:,.0f}/s, {found.get('etaSeconds', 0)} s left")
    if found.get("throttleReason"):
        parts.append(f"waiting: {found['throttleReason']}")
    return float(found.get("percent", 0)), ", ".join(parts)
