"""Carrying points between two live collections while the application goes on."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from teal.domain.in_step import SideVersions, compare_sides
from teal.domain.ledger import RawId, ledger_of
from teal.migration.copying.transform import unchanged
from teal.migration.sync.direction import Direction
from teal.qdrant.wire import Point, RawPoint
from tests.unit.domain.builders import state

POINT, GONE = b"\x08\x01", b"\x08\x02"


class OnePoint:
    """The points of a server that has only one of those that a scan had seen."""

    version = 70

    async def fetch(self, _: str, ids: Sequence[RawId], **__: Any) -> list[RawPoint]:
        return [Point(POINT, (), b"")] if POINT in ids else []

    async def upsert(self, _: str, points: Sequence[RawPoint], *, only: str) -> None:
        assert ([point.id for point in points], only) == ([POINT], "update")
        self.version = 71

    async def versions(self, *_: Any) -> dict[RawId, int]:
        return {POINT: self.version}


async def test_what_was_deleted_since_the_scan_is_seen_to_go() -> None:
    """By the next round, and by a pass that has only what this one knows: it must not come back to life."""
    here: dict[RawId, int] = {}
    there = {POINT: 3, GONE: 4}
    way = Direction(state(name="green"), state(name="blue"), here, there, {POINT: 70}, {}, unchanged)
    work: Any = SimpleNamespace(server=SimpleNamespace(points=OnePoint()))
    assert await way.carry(work, {POINT: 11, GONE: 12}) == (1, None)
    assert way.left == {}
    seen = {POINT: 11}
    assert GONE in ledger_of(here).versions
    assert compare_sides(SideVersions(here, seen), SideVersions(there, {POINT: 71, GONE: 4})).drop_retained == [
        GONE
    ]
