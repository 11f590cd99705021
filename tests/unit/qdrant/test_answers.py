"""Answers read as columns say the same as protobuf's own reading of them."""

from __future__ import annotations

import random
from itertools import permutations
from uuid import UUID

import pytest
from google.protobuf.message import DecodeError
from qdrant_client import grpc as q

from teal.qdrant import answers, raw_keys, wire
from teal.qdrant.raw_keys import UnknownIdError


def points(count: int, seed: int = 1) -> list[q.ScoredPoint]:
    """Points with ids of both kinds and versions of all sizes, 0 among them."""
    chosen = random.Random(seed)
    return [
        q.ScoredPoint(
            id=q.PointId(num=chosen.getrandbits(chosen.randrange(1, 65)))
            if chosen.random() < 0.5
            else q.PointId(uuid=str(UUID(int=chosen.getrandbits(128)))),
            score=1.0,
            version=chosen.choice([0, 1, 127, 128, 2**62]),
        )
        for _ in range(count)
    ]


def read(answer: q.QueryResponse) -> list[tuple[int | str, int]]:
    found, versions = answers.read_versions(answer.SerializeToString())
    return list(zip(map(wire.plain_id, raw_keys.raw_ids(found)), versions.tolist(), strict=True))


def told(answer: q.QueryResponse) -> list[tuple[int | str, int]]:
    return [(wire.plain_id(point.id.SerializeToString()), point.version) for point in answer.result]


def fast(answer: q.QueryResponse, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it is read without protobuf's help."""
    with monkeypatch.context() as patch:
        patch.setattr(answers, "_read_slowly", lambda _: (raw_keys.of([]), []))
        found, _ = answers.read_versions(answer.SerializeToString())
    return len(found) == len(answer.result)


def test_ids_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = q.QueryResponse(result=points(500), time=0.5)
    assert read(answer) == told(answer)
    assert fast(answer, monkeypatch)


def test_no_points(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (q.QueryResponse(), q.QueryResponse(time=0.5)):
        assert read(answer) == []
        assert fast(answer, monkeypatch)


def test_what_follows_the_version_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The points of a collection with shard keys, and an answer with a field of tomorrow's server."""
    answer = q.QueryResponse(result=points(50), usage=q.Usage())
    for point in answer.result:
        point.version = 300
        point.shard_key.keyword = "eu"
    assert read(answer) == told(answer)
    assert fast(answer, monkeypatch)


@pytest.mark.parametrize("change", ["no score", "payload", "long", "no version but more"])
def test_another_layout_is_read_the_slow_way(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = q.QueryResponse(result=points(20))
    odd = answer.result[7]
    if change == "no score":
        odd.score = 0.0
    elif change == "payload":
        odd.payload["text"].string_value = "x"
    elif change == "long":
        odd.payload["text"].string_value = "x" * 300
    else:
        odd.version = 0
        odd.order_value.int = 5
    assert read(answer) == told(answer)
    assert not fast(answer, monkeypatch)


def test_no_point_is_left_out_wherever_it_stands() -> None:
    """Protobuf allows any order of fields, and a message that comes in parts."""
    first, second = q.QueryResponse(result=points(3), time=0.5), q.QueryResponse(result=points(4, seed=2))
    found, versions = answers.read_versions(first.SerializeToString() + second.SerializeToString())
    assert len(found) == len(versions) == 7


@pytest.mark.parametrize("size", [126, 127, 128, 129, 300, 3000])
def test_points_of_any_length(size: int) -> None:
    answer = q.QueryResponse(result=points(20), time=0.5)
    answer.result[7].shard_key.keyword = "x" * size
    assert read(answer) == told(answer)


def row(*fields: bytes) -> bytes:
    """An answer with one point of these fields, between two others."""
    other = q.QueryResponse(result=points(1)).SerializeToString()
    point = b"".join(fields)
    return other + b"\x0a" + bytes([len(point)]) + point + other


FIELDS = {
    "id": q.ScoredPoint(id=q.PointId(num=300)).SerializeToString(),
    "score": q.ScoredPoint(score=1.0).SerializeToString(),
    "version": q.ScoredPoint(version=5_000).SerializeToString(),
    "vectors": q.ScoredPoint(vectors=q.VectorsOutput()).SerializeToString(),
}


@pytest.mark.parametrize("order", list(permutations(FIELDS)), ids=" ".join)
def test_fields_in_any_order(order: tuple[str, ...]) -> None:
    answer = row(*(FIELDS[name] for name in order))
    found, versions = answers.read_versions(answer)
    assert [wire.plain_id(raw) for raw in raw_keys.raw_ids(found)][1] == 300
    assert versions.tolist() == [point.version for point in q.QueryResponse.FromString(answer).result]


def test_what_only_looks_like_an_id_is_none() -> None:
    lookalike = b"\x12\x02\x08\x07"
    found, _ = answers.read_versions(row(lookalike, FIELDS["score"], FIELDS["version"], FIELDS["id"]))
    assert wire.plain_id(raw_keys.raw_ids(found)[1]) == 300


@pytest.mark.parametrize(
    "fields",
    [
        (FIELDS["id"], FIELDS["score"], b"\x28\x80"),
        (FIELDS["id"], FIELDS["score"], b"\x28"),
        (FIELDS["id"], FIELDS["score"][:-1]),
        (FIELDS["id"], b"\x1d"),
    ],
    ids=["version", "version's tag", "score", "score's tag"],
)
def test_a_point_that_breaks_off_is_an_error(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(DecodeError):
        answers.read_versions(row(*fields))


def test_what_is_no_answer_is_an_error() -> None:
    whole = q.QueryResponse(result=points(3)).SerializeToString()
    with pytest.raises(DecodeError):
        answers.read_versions(whole[:-1])
    nameless = q.QueryResponse(result=[q.ScoredPoint(score=1.0, version=3)])
    with pytest.raises(UnknownIdError):
        answers.read_versions(nameless.SerializeToString())
