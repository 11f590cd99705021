"""The ledger on columns does what the same rules do on a dict, which is small enough to be read and believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from teal.domain.columns import NO_DIGEST, UNKNOWN, aligned, pieces
from teal.domain.keys import ids_of, keys_of
from teal.domain.ledger import difference, forget, held, record, seed, unmoved
from tests.unit.domain.columns import IDS, POINTS, Id, Row, columns, points


@given(POINTS, POINTS, st.booleans())
def test_difference(known: dict[Id, Row], seen: dict[Id, Row], comparable: bool) -> None:
    found = difference(columns(known), columns(seen), comparable=comparable)
    unchanged = {
        point
        for point, (version, _) in seen.items()
        if comparable and version != UNKNOWN and point in known and known[point][0] == version
    }
    assert points(found.read) == {
        point: (version, known[point][1] if point in known else NO_DIGEST)
        for point, (version, _) in seen.items()
        if point not in unchanged
    }
    assert set(ids_of(found.gone)) == known.keys() - seen.keys()
    assert len(found) == len(seen) - len(unchanged) + len(known.keys() - seen.keys())


@given(POINTS, POINTS)
def test_record(known: dict[Id, Row], copied: dict[Id, Row]) -> None:
    assert points(record(columns(known), columns(copied))) == {**known, **copied}


@given(POINTS, st.lists(IDS))
def test_seed_adds_without_a_version_and_overwrites_nothing(known: dict[Id, Row], ids: list[Id]) -> None:
    expected = {**dict.fromkeys(ids, (UNKNOWN, NO_DIGEST)), **known}
    assert points(seed(columns(known), keys_of(ids))) == expected


@given(POINTS, st.lists(IDS))
def test_forget(known: dict[Id, Row], gone: list[Id]) -> None:
    assert points(forget(columns(known), keys_of(gone))) == {p: r for p, r in known.items() if p not in gone}


@given(POINTS, st.lists(IDS))
def test_held(known: dict[Id, Row], ids: list[Id]) -> None:
    assert points(held(columns(known), keys_of(ids))) == {p: r for p, r in known.items() if p in ids}


@given(POINTS, POINTS)
def test_unmoved_is_the_same_content(known: dict[Id, Row], seen: dict[Id, Row]) -> None:
    read = difference(columns(known), columns(seen), comparable=False).read
    content = columns(seen).digests
    expected = [
        digest != NO_DIGEST and point in known and known[point][1] == digest
        for point, (_, digest) in points(columns(seen)).items()
    ]
    assert unmoved(read, content).tolist() == expected


@given(POINTS, st.lists(IDS), st.lists(POINTS, max_size=4), st.integers(1, 5))
def test_passes_over_pieces_end_with_what_blue_has(
    first: dict[Id, Row], held: list[Id], changes: list[dict[Id, Row]], size: int
) -> None:
    """Green holds some points at the start; after each pass it has what was seen, and the ledger says so."""
    green = dict.fromkeys(held, (UNKNOWN, NO_DIGEST))
    ledger = [seed(columns({}), keys_of(held))]
    for number, seen in enumerate([first, *changes]):
        passed = []
        for known, now in aligned(iter(ledger), pieces(columns(seen), size)):
            todo = difference(known, now)
            copied = {point: (version, number + 1) for point, (version, _) in points(todo.read).items()}
            green.update(copied)
            for point in ids_of(todo.gone):
                del green[point]
            passed.append(record(forget(known, todo.gone), columns(copied)))
        ledger = passed
        assert green.keys() == seen.keys()
        assert points(ledger) == green
        assert {point: version for point, (version, _) in green.items()} == {p: v for p, (v, _) in seen.items()}
