"""Changed, unchanged or unknown: the table of evidence, and the same rules point by point on a dict."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.buckets import MIN_BUCKETS, Buckets
from teal.domain.columns import NO_DIGEST, UNKNOWN
from teal.domain.epoch import Floors
from teal.domain.keys import keys_of
from teal.domain.point_state import State, by_ledger, by_marks, out_of_order
from tests.unit.domain.columns import IDS, POINTS, Id, Row, columns, rank

U, C, N = State.UNCHANGED, State.CHANGED, State.UNKNOWN
FLOORS = Floors(4, 6)
POINT = 256

ids = st.lists(IDS, unique=True).map(lambda found: sorted(found, key=rank))
floors = st.none() | st.tuples(st.integers(-1, 4), st.integers(0, 2)).map(lambda f: Floors(f[0], f[0] + f[1]))


def one(row: Row | None) -> dict[Id, Row]:
    return {} if row is None else {POINT: row}


@pytest.mark.parametrize(
    ("known", "seen", "within", "ended"),
    [
        # (version, digest)        within the epoch, and after it has ended
        (None, None, U, U),
        (None, (9, 0), C, C),
        ((3, 1), None, C, C),
        ((3, 1), (3, 0), U, N),
        ((9, 1), (9, 0), U, N),  # noted in the same scan, after it had begun
        ((3, 1), (9, 0), C, N),
        ((3, 1), (5, 0), N, N),  # another shard may have been there already
        ((3, 1), (4, 0), N, N),  # no scan of this epoch shows it (`out_of_order`)
        ((3, 1), (2, 0), N, N),
        ((3, 1), (9, 1), U, U),  # written to, with what it held
        ((3, 1), (3, 2), C, C),  # content is better evidence than a version
        ((UNKNOWN, 1), (9, 0), N, N),
        ((UNKNOWN, 1), (9, 1), U, U),
        ((UNKNOWN, 1), (9, 2), C, C),
        ((3, 1), (UNKNOWN, 0), N, N),
        ((UNKNOWN, 0), (UNKNOWN, 0), N, N),
        ((3, 0), (9, 2), C, N),
    ],
)
def test_by_ledger(known: Row | None, seen: Row | None, within: State, ended: State) -> None:
    keys = keys_of([POINT])
    assert by_ledger(keys, columns(one(known)), columns(one(seen)), FLOORS).tolist() == [within]
    assert by_ledger(keys, columns(one(known)), columns(one(seen)), None).tolist() == [ended]


def judged(known: Row | None, seen: Row | None, floors: Floors | None) -> State:
    """The rules of `by_ledger` for one point."""
    if known is None or seen is None:
        return U if known is seen else C
    if NO_DIGEST not in (known[1], seen[1]):
        return U if known[1] == seen[1] else C
    if floors is None or UNKNOWN in (known[0], seen[0]):
        return N
    if known[0] == seen[0]:
        return U
    return C if seen[0] > floors.high else N


@given(ids, POINTS, POINTS, floors)
def test_by_ledger_as_on_a_dict(
    keys: list[Id], known: dict[Id, Row], seen: dict[Id, Row], found: Floors | None
) -> None:
    states = by_ledger(keys_of(keys), columns(known), columns(seen), found)
    assert states.tolist() == [judged(known.get(point), seen.get(point), found) for point in keys]


@given(POINTS, POINTS, floors)
def test_out_of_order_as_on_a_dict(known: dict[Id, Row], seen: dict[Id, Row], found: Floors | None) -> None:
    found = found or FLOORS
    rows = out_of_order(columns(known), columns(seen), found)
    expected = [
        version != UNKNOWN and version <= found.low and known.get(point, (None, 0))[0] not in (version, UNKNOWN)
        for point, (version, _) in sorted(seen.items(), key=lambda item: rank(item[0]))
    ]
    assert rows.tolist() == expected


@pytest.mark.parametrize(
    ("known", "seen", "odd"),
    [
        (None, (4, 0), True),
        (None, (5, 0), False),
        ((3, 1), (4, 0), True),
        ((3, 1), (2, 0), True),
        ((3, 1), (3, 0), False),
        ((3, 1), (7, 0), False),
        ((UNKNOWN, 0), (2, 0), False),
        ((3, 1), (UNKNOWN, 0), False),
    ],
)
def test_out_of_order(known: Row | None, seen: Row, odd: bool) -> None:
    assert out_of_order(columns(one(known)), columns(one(seen)), FLOORS).tolist() == [odd]


def summed(points: dict[Id, Row]) -> Buckets:
    buckets = Buckets(MIN_BUCKETS)
    buckets.add(columns(points))
    return buckets


def remembered(point: Id, then: dict[Id, Row], seen: dict[Id, Row], floors: Floors | None) -> State:
    """The rules of `by_marks` for one point, from the points themselves instead of sums over them."""
    here = seen.get(point)
    if here is not None and floors is not None and here[0] != UNKNOWN:
        if here[0] <= floors.low:
            return U
        if here[0] > floors.high:
            return C
    bucket = Buckets(MIN_BUCKETS).of(keys_of([point]))[0]

    def held(points: dict[Id, Row]) -> Counter[tuple[Id, int]]:
        inside = [p for p in points if Buckets(MIN_BUCKETS).of(keys_of([p]))[0] == bucket]
        return Counter((p, points[p][1]) for p in inside)

    before, after = held(then), held(seen)
    ids_before, ids_after = {p for p, _ in before}, {p for p, _ in after}
    if before == after and all(digest != NO_DIGEST for _, digest in before):
        return U
    if here is None and ids_before == ids_after:
        return U
    if here is None and ids_before - ids_after == {point} and not ids_after - ids_before:
        return C
    return N


@given(ids, POINTS, POINTS, floors)
def test_by_marks_as_on_a_dict(
    keys: list[Id], then: dict[Id, Row], seen: dict[Id, Row], found: Floors | None
) -> None:
    noted = summed(then)
    states = by_marks(keys_of(keys), columns(seen), found, noted, noted.compared(summed(seen)))
    assert states.tolist() == [remembered(point, then, seen, found) for point in keys]


@given(keys=ids, then=POINTS, changes=POINTS, gone=st.lists(IDS), low=st.integers(0, 4), shards=st.integers(0, 2))
def test_after_a_restart_nothing_changed_is_said_of_what_has(
    keys: list[Id], then: dict[Id, Row], changes: dict[Id, Row], gone: list[Id], low: int, shards: int
) -> None:
    """Contents are looked at on both sides; each change is numbered above the floor of its shard."""
    then = {point: (min(version, low), digest + 1) for point, (version, digest) in then.items()}
    now = {**then, **{p: (low + shards + 1, digest + 1) for p, (_, digest) in changes.items()}}
    now = {point: row for point, row in now.items() if point not in gone}
    noted, scan = summed(then), columns(now)
    for found in (None, Floors(low, low + shards)):
        states = by_marks(keys_of(keys), scan, found, noted, noted.compared(summed(now)))
        for point, state in zip(keys, states.tolist(), strict=True):
            differs = (then.get(point) or (0, None))[1] != (now.get(point) or (0, None))[1]
            if state == State.UNCHANGED:
                assert not differs
            if state == State.CHANGED and point not in changes:
                assert differs
