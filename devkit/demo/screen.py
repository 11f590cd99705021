"""The output while a migration runs: the status of the resource, and the counts of the clients.

On a terminal two lines are updated. Elsewhere a line is printed when the phase changes and every few seconds, so
that a log has the same content.
"""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from devkit.clients import Counts
from devkit.demo.story import Commit

LINE_SECONDS = 3.0
STYLES = {"+": "green", "-": "red", "@": "cyan"}


class Screen:
    """Prints to `console`, standard output by default."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._phase, self._at = "", 0.0

    def title(self, text: str) -> None:
        self.console.rule(Text(text, style="bold"), align="left")

    def commit(self, commit: Commit) -> None:
        """The change as `git show` would print it."""
        self.title(f"{commit.message}  ({commit.expect})")
        for line in commit.diff:
            self.console.print(Text(f"  {line}", style=STYLES.get(line[:1], "dim")))

    def live(self) -> Live:
        """Shows what `update` is given, until the block ends."""
        return Live(console=self.console, refresh_per_second=4, transient=True)

    def update(self, live: Live, status: dict[str, Any], counts: Counts, seconds: float) -> None:
        if self.console.is_terminal:
            live.update(_drawn(status, counts, seconds))
            return
        phase = str(status.get("phase"))
        if phase != self._phase or time.monotonic() - self._at >= LINE_SECONDS:
            self.console.print(
                f"{seconds:5.1f} s  {phase:<18}{_progress(status)}  |  {clients(counts)}", soft_wrap=True
            )
            self._phase, self._at = phase, time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        style = "yellow" if event["type"] == "Warning" else "green"
        line = Text.assemble("  ", (f"{event['reason']:<20}", style), " ", event["note"])
        self.console.print(line, soft_wrap=True)


def _drawn(status: dict[str, Any], counts: Counts, seconds: float) -> Group:
    progress = (status.get("migration") or {}).get("progress") or {}
    grid = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=100, completed=progress.get("percent", 0), width=40)
    grid.add_row(f"{seconds:5.1f} s", Text(str(status.get("phase")), style="bold"), bar, _progress(status))
    return Group(grid, Text(f"         {clients(counts)}", style="dim"))


def _progress(status: dict[str, Any]) -> str:
    progress = (status.get("migration") or {}).get("progress")
    if not progress or status.get("phase") in ("Ready", "Watching"):
        return f"{(status.get('active') or {}).get('collection', '')}"
    text = f"{progress['percent']:3d} % of {progress['pointsTotal']:,} points"
    if "pointsPerSecond" in progress:
        text += f", {progress['pointsPerSecond']:,.0f}/s, {progress.get('etaSeconds', 0)} s left"
    return text + (", throttled" if progress.get("throttled") else "")


def clients(counts: Counts) -> str:
    """Readers' and writers' counts in a line."""
    return (
        f"{counts.reads:,} reads ({counts.failed_reads + counts.empty_reads} failed), "
        f"{counts.all_writes:,} writes ({counts.failed_writes} failed, {counts.throttled} times told to wait, "
        f"longest stall {counts.longest_stall_millis:,.0f} ms), {counts.reencoded} re-encoded"
    )
