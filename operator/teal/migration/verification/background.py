"""A comparison in the background: it only reads, so it can be cancelled at any moment.

A step must return within seconds, and comparing millions of points takes longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from teal.domain.verdict import Check
from teal.migration.verification.checks import ask_all
from teal.migration.verification.comparison import Comparison


class Running:
    """`ask_all` under way. `key` names what it compares, `said` what it is doing right now."""

    def __init__(self, key: Hashable, comparison: Comparison) -> None:
        self.key = key
        self.said = "comparing"
        comparison.say = self._say
        self._task = asyncio.create_task(ask_all(comparison))
        self._task.add_done_callback(_taken_note_of)

    def _say(self, text: str) -> None:
        self.said = text

    async def wait(self, seconds: float) -> list[Check] | None:
        """The checks, as soon as they are there; `None` if that takes longer than `seconds`.

        Raises:
            TealError: as `ask_all`.
        """
        await asyncio.wait({self._task}, timeout=seconds)
        return self._task.result() if self._task.done() else None

    def cancel(self) -> None:
        """Stop comparing: the result is not needed any more."""
        self._task.cancel()


def _taken_note_of(task: asyncio.Task[list[Check]]) -> None:
    """Retrieve the exception of a comparison that nobody waits for, so that asyncio logs no warning about it."""
    if not task.cancelled():
        task.exception()
