"""Seeding: every point that the target holds already gets a row in the ledgers, before the source is scanned.

Without it a point that an earlier process copied, and that the source has lost since, would never be deleted from
the target.
"""

from __future__ import annotations

import asyncio

from teal.domain import keys as k
from teal.domain.columns import aligned, pieces
from teal.migration.context import Context
from teal.migration.copying.ledgers import Cursor, Ledgers, Range, blank
from teal.migration.copying.scan import PartScan


class Seeding:
    """One scan of the target."""

    def __init__(self, ctx: Context, ledgers: Ledgers) -> None:
        self._clock = ctx.clock
        self._scan = PartScan(ctx.server, ctx.the_subject(), ledgers.total)
        self._cursor = Cursor(ledgers)

    async def advance(self, until: float) -> bool:
        """Go on until the monotonic time `until`; true when it is complete.

        Raises:
            TransientError: try again.
        """
        while (seen := await self._scan.next()) is not None:
            await self._note(self._cursor.open(seen))
            if self._clock.monotonic() >= until:
                return False
        return True

    async def _note(self, current: Range) -> None:
        for known, there in aligned(current.source, pieces(current.seen.points)):
            fresh = there.take(~k.locate(there.keys, known.keys)[1])
            current.note(blank(fresh.keys))
            await asyncio.sleep(0)
        await self._cursor.close(current)

    def stop(self) -> None:
        """Ask for nothing more."""
        self._scan.stop()
