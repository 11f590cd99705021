"""An id and its key lead to each other, and sort as Qdrant sorts its ids."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from qdrant_client.local.siphash import point_id_slice

from teal.domain import keys as k
from teal.domain.slices import slice_of
from teal.qdrant import raw_keys, wire

NUMBERS = [0, 1, 127, 128, 255, 256, 2**32, 2**63, 2**64 - 1]
UUIDS = [str(UUID(int=number)) for number in (0, 1, 2**64, 2**127 + 2**64 - 1, 2**128 - 2**64, 2**128 - 1)]


def some(count: int, seed: int = 1) -> list[int | str]:
    """Numbers of all sizes and UUIDs, mixed."""
    chosen = random.Random(seed)
    numbers = [chosen.getrandbits(chosen.randrange(1, 65)) for _ in range(count)]
    uuids = [str(UUID(int=chosen.getrandbits(128))) for _ in range(count)]
    both: list[int | str] = [*NUMBERS, *UUIDS, *numbers, *uuids]
    chosen.shuffle(both)
    return both


def test_there_and_back() -> None:
    raws = [wire.raw_id(point) for point in some(300)]
    found = raw_keys.of(raws)
    assert found.dtype == k.KEY
    assert found.nbytes == 17 * len(raws)
    assert raw_keys.raw_ids(found) == raws
    assert raw_keys.raw_ids(raw_keys.of([])) == []


def test_a_key_is_the_kind_and_sixteen_bytes() -> None:
    number, uuid = k.as_bytes(raw_keys.of([wire.raw_id(258), wire.raw_id(UUIDS[1])]))
    assert bytes(number) == b"\0" * 15 + b"\1\2"
    assert bytes(uuid) == b"\1" + UUID(UUIDS[1]).bytes


@pytest.mark.parametrize("points", [NUMBERS, UUIDS, some(200)], ids=["numbers", "uuids", "both"])
def test_keys_sort_as_qdrant_sorts_ids(points: list[int | str]) -> None:
    shuffled = random.Random(2).sample(points, len(points))
    found = raw_keys.of([wire.raw_id(point) for point in shuffled])
    numbers = sorted(point for point in points if isinstance(point, int))
    uuids = sorted((point for point in points if isinstance(point, str)), key=lambda text: UUID(text).int)
    assert [wire.plain_id(raw) for raw in raw_keys.raw_ids(k.take(found, k.order(found)))] == [*numbers, *uuids]


@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_slices_are_those_of_the_server(total: int) -> None:
    points = some(200)
    found = slice_of(raw_keys.of([wire.raw_id(point) for point in points]), total)
    assert found.tolist() == [point_id_slice(point, total) for point in points]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x08",
        b"\x08\x80",
        b"\x08\x01\x00",
        b"\x10\x01",
        b"\x08" + b"\xff" * 11,
        b"\x12\x24" + b"x" * 36,
        b"\x12\x23" + b"0" * 36,
        b"\x1a\x24" + b"0" * 36,
        b"\x12\x20" + b"0" * 32,
    ],
)
def test_what_is_no_id_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"id|UUID|number"):
        raw_keys.of([wire.raw_id(7), raw])
