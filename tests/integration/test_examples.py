"""The client that docs/clients.md shows does what is said there: against an engine, over a moving alias."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient, models

from examples.follow_alias import Encoder, FollowAlias
from tests.plugins.qdrant import Qdrant

ENCODERS = {
    "old": (1.0, 0.0, 0.0, 0.0),
    "same-size": (0.0, 1.0, 0.0, 0.0),
    "larger": (0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
}


def embed(encoder: Encoder, _: str) -> tuple[float, ...]:
    return ENCODERS[encoder["model"]]


# A key over plain HTTP is what a test server gets.
pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


class Moving:
    """An alias over one collection for each encoder."""

    def __init__(self, client: QdrantClient, prefix: str) -> None:
        self.client = client
        self.alias = f"{prefix}docs"
        for model, vector in ENCODERS.items():
            client.create_collection(
                f"{prefix}{model}",
                vectors_config=models.VectorParams(size=len(vector), distance=models.Distance.EUCLID),
                metadata={"teal.dev/encoder": {"model": model, "schemaVersion": "v1", "dimensions": len(vector)}},
            )
        self._prefix = prefix
        self.move("old")

    def move(self, model: str) -> None:
        create = models.CreateAlias(collection_name=f"{self._prefix}{model}", alias_name=self.alias)
        self.client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])

    def limit_writes(self, per_minute: int) -> None:
        strict = models.StrictModeConfig(enabled=True, write_rate_limit=per_minute)
        self.client.update_collection(f"{self._prefix}old", strict_mode_config=strict)

    def vector(self, model: str, point: int) -> list[float]:
        (found,) = self.client.retrieve(f"{self._prefix}{model}", [point], with_vectors=True)
        return list(found.vector)


@pytest.fixture
def moving(qdrant: Qdrant, prefix: str) -> Iterator[Moving]:
    client = QdrantClient(url=qdrant.url, api_key=qdrant.api_key, check_compatibility=False)
    try:
        yield Moving(client, prefix)
    finally:
        client.close()


def test_a_search_is_answered_after_the_cutover_to_another_dimension(moving: Moving) -> None:
    follower = FollowAlias(moving.client, moving.alias, embed)
    follower.write(1, "a", {"n": 1})
    assert [hit.id for hit in follower.search("a")] == [1]
    moving.move("larger")
    follower.write(2, "a", {"n": 2})
    assert [hit.id for hit in follower.search("a")] == [2]


def test_a_write_that_a_cutover_overtakes_ends_with_the_right_vector(moving: Moving) -> None:
    def overtaken(encoder: Encoder, text: str) -> tuple[float, ...]:
        vector = embed(encoder, text)
        moving.move("same-size")
        return vector

    FollowAlias(moving.client, moving.alias, overtaken).write(7, "a", {})
    assert tuple(moving.vector("same-size", 7)) == ENCODERS["same-size"]


def test_a_write_waits_for_the_end_of_a_fence(moving: Moving) -> None:
    pauses: list[float] = []

    def lift(seconds: float) -> None:
        pauses.append(seconds)
        moving.limit_writes(1_000_000)

    follower = FollowAlias(moving.client, moving.alias, embed, pause=lift)
    moving.limit_writes(1)
    follower.write(1, "a", {})
    follower.write(2, "a", {})
    assert pauses
    assert moving.client.count(moving.alias, exact=True).count == 2


def test_any_other_refusal_is_raised(moving: Moving) -> None:
    with pytest.raises(Exception, match="Not found"):
        FollowAlias(moving.client, f"{moving.alias}-missing", embed).search("a")
