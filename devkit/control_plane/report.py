"""Shows the progress of a start: the first one builds a server for minutes.

On a terminal one line is updated. Elsewhere (CI) there is a line every 15 seconds, so that neither a person nor
a watchdog thinks that the build hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from devkit.processes import Process

PLAIN_SECONDS = 15.0


class Report:
    """Prints to `console`, by default standard error: standard output belongs to the result of the caller."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)

    def __call__(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    def watch(self, child: Process, title: str, doing: Callable[[], str]) -> None:
        """Return when `child` has ended; until then show `title`, the elapsed seconds and what `doing` returns."""
        start = time.monotonic()

        def line() -> str:
            return f"{title}: {time.monotonic() - start:.0f} s, {doing()}"

        if self._console.is_terminal:
            with self._console.status("") as status:
                while child.running:
                    status.update(escape(line()))
                    time.sleep(0.2)
            return
        due = start
        while child.running:
            if time.monotonic() >= due:
                self(line())
                due += PLAIN_SECONDS
            time.sleep(0.2)
