"""Named vectors, multivectors and sparse ones are compared like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.integration.verification.support import TENANT, Pair, checks, failed

BODY = {
    "vectors": {
        "late": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
        "text": {"size": 4, "distance": "Cosine"},
    },
    "sparse_vectors": {"bm25": {}},
}


def points() -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    return [
        {
            "id": number,
            "payload": {"tenant": "t"},
            "vector": {
                "text": random.normal(size=4).tolist(),
                "late": random.normal(size=(2, 2)).tolist(),
                "bm25": {"indices": [number, 100], "values": [0.5, 1.5]},
            },
        }
        for number in range(30)
    ]


@pytest.fixture
async def named(pair: Pair, prefix: str) -> Pair:
    found = Pair(pair.server, f"{prefix}blue", f"{prefix}green")
    for name in (found.blue, found.green):
        await found.server.admin.create(name, BODY)
        await found.put(name, *points())
        await found.server.admin.create_index(name, "tenant", TENANT)
    return found


async def test_an_equal_pair_passes(named: Pair) -> None:
    found = await checks(await named.comparison())
    assert failed(found) == {}
    assert {"SelfRecall(text)", "SelfRecall(late)", "Overlap(text)", "Overlap(late)"} <= found.keys()


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ({"bm25": {"indices": [5, 100], "values": [0.5, 1.6]}}, {"Content": ("5",)}),
        ({"bm25": {"indices": [5, 101], "values": [0.5, 1.5]}}, {"Content": ("5",)}),
        ({"late": [[1.0, 2.0], [3.0, 4.0]]}, {"Content": ("5",)}),
        ({"late": [[1.0, 2.0]]}, {"Content": ("5",)}),
        ({"text": [0.0, 0.0, 0.0, 0.0]}, {"Content": ("5",), "VectorSanity": ("5",)}),
    ],
    ids=["sparse value", "sparse index", "rows", "a row less", "zero"],
)
async def test_an_altered_vector(
    named: Pair, vector: dict[str, Any], expected: dict[str, tuple[str, ...]]
) -> None:
    await named.write("PUT", named.green, "points/vectors", {"points": [{"id": 5, "vector": vector}]})
    assert failed(await checks(await named.comparison())) == expected


@pytest.mark.parametrize("name", ["bm25", "text", "late"])
async def test_a_missing_vector(named: Pair, name: str) -> None:
    await named.write("POST", named.green, "points/vectors/delete", {"points": [5], "vector": [name]})
    assert failed(await checks(await named.comparison())) == {"Content": ("5",), "Vectors": ("5",)}
