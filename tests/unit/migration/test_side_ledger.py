"""The ledger of one side is what was recorded, in whatever ranges it was gone over, and so are its sums."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain import keys as k
from teal.domain.buckets import Buckets
from teal.domain.columns import Columns, pieces, together
from teal.migration.copying.scratch import Scratch, ScratchLostError
from teal.migration.copying.side_ledger import Change, SideLedger, by_version
from tests.unit.domain.columns import POINTS, Id, Row, columns

BUCKETS = 16


def rows(ledger: SideLedger) -> dict[Id, Row]:
    found = together([piece for part in range(ledger.total) for piece in ledger.rows(part)])
    told = zip(k.ids_of(found.keys), found.versions.tolist(), found.digests.tolist(), strict=True)
    return {point: (version, digest) for point, version, digest in told}


def summed(points: dict[Id, Row]) -> tuple[dict[str, object], dict[str, object]]:
    contents, versions = Buckets(BUCKETS), Buckets(BUCKETS)
    for piece in pieces(columns(points)):
        contents.add(piece)
        versions.add(by_version(piece))
    return contents.as_json(), versions.as_json()


async def go_over(ledger: SideLedger, recorded: dict[Id, Row], gone: set[Id], cuts: list[Id]) -> None:
    """All of the only part, in ranges that end at `cuts`."""
    ends: list[bytes | None] = [k.key_bytes(k.keys_of([cut]), 0) for cut in cuts]
    ordered = [*sorted({end for end in ends if end}), None]
    rewrite, above = ledger.rewrite(0), b""
    for upto in ordered:
        known = list(rewrite.known(upto))
        within = [p for p in {*recorded, *gone} if above < k.key_bytes(k.keys_of([p]), 0) <= (upto or b"\xff")]
        fresh = columns({p: recorded[p] for p in within if p in recorded})
        await rewrite.put(known, Change(k.keys_of([p for p in within if p in gone]), fresh))
        above = upto or above
    rewrite.finish()


@given(st.lists(st.tuples(POINTS, POINTS, st.lists(st.integers(0, 40), max_size=3)), max_size=3))
def test_it_holds_what_was_recorded_and_not_what_is_gone(
    steps: list[tuple[dict[Id, Row], dict[Id, Row], list[Id]]],
) -> None:
    ledger, expected = SideLedger(Scratch(), 1, BUCKETS), dict[Id, Row]()
    for recorded, gone, cuts in steps:
        dropped = {point for point in gone if point in expected and point not in recorded}
        asyncio.run(go_over(ledger, recorded, dropped, cuts))
        expected = {p: row for p, row in expected.items() if p not in dropped} | recorded
        assert rows(ledger) == expected
        assert (ledger.contents.as_json(), ledger.versions.as_json()) == summed(expected)
        assert len(ledger) == len(expected)
    ledger.drop()


def test_a_ledger_that_was_left_half_written_is_lost() -> None:
    async def give_up() -> None:
        rewrite = ledger.rewrite(0)
        await rewrite.put(list(rewrite.known(None)), Change(recorded=columns({1: (1, 1)})))

    ledger = SideLedger(Scratch(), 1, BUCKETS)
    asyncio.run(give_up())
    with pytest.raises(ScratchLostError):
        list(ledger.rows(0))


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    ledger = SideLedger(Scratch(tmp_path), 1, BUCKETS)
    asyncio.run(go_over(ledger, {1: (1, 1)}, set(), []))
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.columns")}
    asyncio.run(go_over(ledger, {}, set(), [1]))
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.columns")} == before


def test_unknown_versions_are_not_summed_up() -> None:
    assert by_version(Columns(*_one(-1))).digests.tolist() == [0]


def _one(version: int) -> tuple[k.Keys, object, object]:
    found = columns({1: (version, 5)})
    return found.keys, found.versions, found.digests
