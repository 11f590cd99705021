"""What is known of blue: samples that stay the same, and points that are never guessed to have moved or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teal.domain import keys as k
from teal.domain.buckets import id_hashes
from teal.domain.columns import CONTENT, NO_DIGEST, UNKNOWN, columns_of
from teal.domain.epoch import Epoch, Floors, Replica, Scan
from teal.domain.observed import Version
from teal.domain.slices import slice_of
from teal.migration.copying.scratch import Scratch
from teal.migration.copying.side_ledger import Change, SideLedger
from teal.migration.verification import known as module
from teal.migration.verification.known import Known, MovedUnknownError
from teal.qdrant import raw_keys, wire
from teal.qdrant.wire import RawId
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.qdrant.test_wire import entries

FLOORS = Floors(100, 100)


def epoch(start: str = "first") -> Epoch:
    return Epoch("it", (Replica(0, 1),), ((1, start),))


NOTED, LATER = Scan(FLOORS, epoch()), Scan(FLOORS, epoch("second"))


def point(number: int, text: str) -> wire.Point:
    return wire.Point(wire.raw_id(number), tuple(entries({"text": text})), wire.NO_VECTORS)


@dataclass
class Blue:
    """A server of one collection, on which each point has a version and a text."""

    now: Scan = NOTED
    points: dict[int, tuple[int, str]] = field(default_factory=dict)
    read: list[RawId] = field(default_factory=list)

    def reads(self, _: Any) -> Blue:
        return self

    async def feed(self, _: Any) -> Blue:
        return self

    async def versions(self, asked: k.Keys) -> Any:
        there = [n for n in self.points if wire.raw_id(n) in set(raw_keys.raw_ids(asked))]
        return columns_of(k.integer_keys(there), [self.points[n][0] for n in there])

    async def fetch(self, _: str, ids: Sequence[RawId]) -> list[wire.Point]:
        self.read += ids
        return [point(n, text) for n, (_, text) in self.points.items() if wire.raw_id(n) in ids]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    found = Scratch(tmp_path)
    yield found
    found.close()


async def known_of(
    blue: Blue, scratch: Scratch, noted: Mapping[int, tuple[int, str | None]], total: int = 2
) -> Known:
    """`noted`: the version of each point and what it held, if that was read."""
    ledger = SideLedger(scratch, total, 16)
    keys = k.integer_keys(list(noted))
    rows = columns_of(
        keys,
        [version for version, _ in noted.values()],
        [wire.content_digest(point(n, text)) if text else NO_DIGEST for n, (_, text) in noted.items()],
    )
    for part in range(total):
        rewrite = ledger.rewrite(part)
        await rewrite.put((), Change(recorded=rows.take(slice_of(rows.keys, total) == part)))
        rewrite.finish()
        ledger.scans[part] = NOTED
    qdrant = Qdrant()
    qdrant.create("blue", {"vectors": {"size": 4, "distance": "Dot"}})

    class KnownHere(Known):
        async def circumstances(self) -> Scan:
            return blue.now

    return KnownHere(blue, qdrant.state("blue"), ledger, Version(1, 19, 0))  # type: ignore[arg-type]


async def moved(known: Known, *numbers: int) -> set[int]:
    found = await known.moved([wire.raw_id(n) for n in numbers])
    return {int(wire.id_text(raw)) for raw in found}


@pytest.mark.parametrize("total", [1, 4])
async def test_a_sample_has_the_smallest_hashes_whatever_the_parts(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    monkeypatch.setattr(module, "SAMPLED", 10)
    known = await known_of(Blue(), scratch, dict.fromkeys(range(1000), (1, None)), total)
    keys = k.integer_keys(range(1000))
    right = k.take(keys, np.argsort(id_hashes(keys))[:30])
    assert set(await known.sampled(30)) == set(raw_keys.raw_ids(right))
    assert set(await known.sampled(7)) == set(raw_keys.raw_ids(k.take(right, slice(0, 7))))
    assert set(await known.sampled(5000)) == set(raw_keys.raw_ids(keys))
    assert await known.sampled(0) == []


@pytest.mark.parametrize("sample", [False, True])
async def test_within_an_epoch_versions_tell(scratch: Scratch, sample: bool) -> None:
    blue = Blue(points={1: (10, "a"), 2: (120, "b"), 4: (130, "new")})
    known = await known_of(blue, scratch, {1: (10, None), 2: (20, None), 3: (30, None)})
    if sample:
        await known.sampled(3)
    assert await moved(known, 1, 2, 3, 4, 5) == {2, 3, 4, 5}
    assert blue.read == []
    assert await moved(known) == set()


async def test_in_another_epoch_contents_tell(scratch: Scratch) -> None:
    blue = Blue(LATER, {1: (7, "a"), 2: (20, "another"), 3: (30, "c")})
    known = await known_of(blue, scratch, {1: (10, "a"), 2: (20, "b"), 3: (30, "c"), 4: (40, "d")})
    assert await moved(known, 1, 2, 3, 4, 5) == {2, 4, 5}


async def test_what_nothing_tells_of_is_not_guessed(scratch: Scratch) -> None:
    blue = Blue(LATER, {1: (10, "a"), 2: (20, "b")})
    known = await known_of(blue, scratch, {1: (10, None), 2: (20, "b")})
    assert await moved(known, 2) == set()
    with pytest.raises(MovedUnknownError, match="cannot be told") as unknown:
        await moved(known, 1, 2)
    assert unknown.value.reason == "MovedUnknown"
    blue.now = NOTED
    assert await moved(known, 1, 2) == set()


async def test_an_unknown_version_equals_nothing(scratch: Scratch) -> None:
    blue = Blue(points={1: (UNKNOWN, "a"), 2: (UNKNOWN, "another")})
    known = await known_of(blue, scratch, {1: (UNKNOWN, "a"), 2: (UNKNOWN, "b"), 3: (UNKNOWN, "c")})
    assert await moved(known, 1, 2, 3) == {2, 3}


async def test_an_answer_of_another_replica_is_not_compared(scratch: Scratch) -> None:
    """Point 2 has a version that was neither noted nor is above the floor, so that of point 1 is an accident."""
    blue = Blue(points={1: (10, "written meanwhile"), 2: (90, "b")})
    known = await known_of(blue, scratch, {1: (10, "a"), 2: (20, "b")}, total=1)
    assert await moved(known, 1, 2) == {1}


async def test_a_version_that_is_a_digest_of_the_content_needs_no_epoch(scratch: Scratch) -> None:
    blue = Blue(LATER, {1: (CONTENT + 1, "a"), 2: (CONTENT + 3, "b")})
    known = await known_of(blue, scratch, {1: (CONTENT + 1, None), 2: (CONTENT + 2, None)})
    assert await moved(known, 1, 2) == {2}
    assert blue.read == []


async def test_which_ids_are_known_at_all(scratch: Scratch) -> None:
    known = await known_of(Blue(), scratch, {1: (1, None), 3: (1, None)})
    assert await known.held([wire.raw_id(n) for n in (3, 2, 1)]) == {wire.raw_id(1), wire.raw_id(3)}
    assert await known.held([]) == set()
