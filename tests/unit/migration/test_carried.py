"""What reaches a retained collection alone is carried over before that collection is deleted, or keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from teal.domain.plan import same_encoder
from teal.domain.transitions import Stage
from teal.qdrant import wire
from tests.unit.domain.builders import schema, state
from tests.unit.migration.fake_qdrant import Stored
from tests.unit.migration.test_guarantee_stories import unchecked
from tests.unit.migration.world import RETAINED, Trouble, World


@pytest.fixture
def embedding() -> Iterator[World]:
    made = World(embeds=True)
    yield made
    made.close()


def rest(world: World) -> None:
    for _ in range(3):
        world.wait(120.0)
        world.reconcile()


def test_the_same_model_without_an_embedder_is_kept_in_step(embedding: World) -> None:
    """Its vectors were copied, so a later write can be copied, too, whatever the version is called."""
    world = embedding
    assert world.embedding_set
    del world.embedding_set["spec"]["embedder"], world.embedding_set["spec"]["source"]
    world.encode_by(schemaVersion="v2")
    world.until_ready()
    blue, green = world.retained, str(world.serving)
    assert blue
    rest(world)
    world.write_retained("upsert", RETAINED[0])
    rest(world)
    assert wire.raw_id(RETAINED[0]) in world.server.points(green)
    world.come_to_rest()


def test_a_point_that_cannot_be_carried_keeps_its_collection(embedding: World) -> None:
    embedding.encode_by(schemaVersion="v2")
    embedding.until_ready()
    blue = embedding.retained
    assert blue
    rest(embedding)
    lost, name = wire.raw_id(999), blue.name
    vectors = next(iter(embedding.server.points(name).values())).vectors
    embedding.server.write(name, {lost: Stored((), vectors)})
    embedding.wait(embedding.keep_for)
    for _ in range(6):
        embedding.reconcile_in_time()
    assert name in embedding.server.names
    assert embedding.reason == "NotCarried"
    assert "999" in embedding.trouble["message"]
    assert "no text" in embedding.trouble["message"]
    embedding.restart()
    for _ in range(6):
        embedding.reconcile_in_time()
    assert name in embedding.server.names, "it is found again by a process that remembers nothing"
    embedding.server.write(name, {lost: None})
    for _ in range(6):
        embedding.reconcile_in_time()
    assert name not in embedding.server.names


def test_what_serving_lost_at_once_keeps_the_collection_that_still_has_it(embedding: World) -> None:
    embedding.encode_by(schemaVersion="v2")
    embedding.until_ready()
    blue, green = embedding.retained, str(embedding.serving)
    assert blue
    rest(embedding)
    lost = list(embedding.server.points(green))[:20]
    unchecked(embedding)
    embedding.server.write(green, dict.fromkeys(lost))
    embedding.wait(embedding.keep_for)
    for _ in range(6):
        embedding.reconcile_in_time()
    assert blue.name in embedding.server.names
    assert embedding.reason == "NotSettled"
    assert "20 of its points" in embedding.trouble["message"]
    assert len(embedding.server.points(blue.name)) == 24


def test_a_point_is_tried_again_when_the_encoder_answers_again(embedding: World) -> None:
    embedding.encode_by(schemaVersion="v2")
    embedding.until_ready()
    blue, green = embedding.retained, str(embedding.serving)
    assert blue
    rest(embedding)
    embedding.write_retained("upsert", RETAINED[0])
    embedding.wait(120.0)
    embedding.reconcile([Trouble("embed", "no answer")])
    assert wire.raw_id(RETAINED[0]) not in embedding.server.points(green)
    rest(embedding)
    assert wire.raw_id(RETAINED[0]) in embedding.server.points(green)


class TestTheSameEncoder:
    BLUE = state(schema(version="v1", model="m"))

    def green(self, copied: bool | None, **changes: str) -> object:
        made = schema(**{"version": "v2", "model": "m", **changes})
        return state(made, Stage.READY, source=self.BLUE.name, copied=copied)

    def test_the_migration_has_decided_it(self) -> None:
        assert same_encoder(self.green(True), self.BLUE)  # type: ignore[arg-type]
        assert same_encoder(self.BLUE, self.green(True))  # type: ignore[arg-type]
        assert not same_encoder(self.green(False), self.BLUE)  # type: ignore[arg-type]

    def test_else_the_names_do(self) -> None:
        assert not same_encoder(self.green(None), self.BLUE)  # type: ignore[arg-type]
        assert same_encoder(self.green(None, version="v1"), self.BLUE)  # type: ignore[arg-type]

    def test_a_mark_about_another_collection_says_nothing(self) -> None:
        other = replace(self.BLUE, name="docs-other")
        assert not same_encoder(self.green(True), other)  # type: ignore[arg-type]
