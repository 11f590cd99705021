"""Answers read as columns say the same as protobuf's own reading of them."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from google.protobuf.message import DecodeError
from qdrant_client import grpc as q

from teal.qdrant import answers, keys, wire
from teal.qdrant.keys import UnknownIdError


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
    return list(zip(map(wire.plain_id, keys.raw_ids(found)), versions.tolist(), strict=True))


def told(answer: q.QueryResponse) -> list[tuple[int | str, int]]:
    return [(wire.plain_id(point.id.SerializeToString()), point.version) for point in answer.result]


def fast(answer: q.QueryResponse, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it is read without protobuf's help."""
    with monkeypatch.context() as patch:
        patch.setattr(wire, "QueryResponse", None)
        try:
            read(answer)
        except AttributeError:
            return False
    return True


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


def test_what_is_no_answer_is_an_error() -> None:
    whole = q.QueryResponse(result=points(3)).SerializeToString()
    with pytest.raises(DecodeError):
        answers.read_versions(whole[:-1])
    nameless = q.QueryResponse(result=[q.ScoredPoint(score=1.0, version=3)])
    with pytest.raises(UnknownIdError):
        answers.read_versions(nameless.SerializeToString())
