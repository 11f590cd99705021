"""What an adopted collection is taken to be: as declared where Qdrant cannot tell, as it is where it can."""

from __future__ import annotations

import pytest

from teal.domain.observed import CollectionState
from teal.domain.schema import Distance, Schema
from teal.migration.steps.adopt import as_declared
from tests.unit.domain.builders import dense, desired, schema, state


def found(made: Schema) -> CollectionState:
    """A collection of this shape that nobody has marked."""
    return state(made, name="legacy", identity=None)


WANTED = schema(dense(384, Distance.COSINE), version="v3", model="minilm", sparse=("bm25",))


def test_the_same_shape_is_the_declared_revision() -> None:
    plain = schema(dense(384, Distance.COSINE), sparse=("bm25",))
    assert as_declared(found(plain), desired(WANTED)).revision == WANTED.revision


@pytest.mark.parametrize(
    "other",
    [
        schema(dense(384, Distance.DOT), sparse=("bm25",)),
        schema(dense(384, Distance.COSINE)),
        schema(dense(384, Distance.COSINE), sparse=("bm25",), sharding_method="custom"),
    ],
    ids=["distance", "sparse", "sharding"],
)
def test_another_shape_of_the_same_encoder_is_to_be_copied(other: Schema) -> None:
    taken = as_declared(found(other), desired(WANTED))
    assert taken.revision != WANTED.revision
    assert (taken.schema_version, taken.model) == ("v3", "minilm")
    assert (taken.vectors, taken.sparse) == (other.vectors, other.sparse)


@pytest.mark.parametrize("other", [dense(768, Distance.COSINE), dense(384, Distance.COSINE, "text")])
def test_other_sizes_or_names_are_another_encoders(other: object) -> None:
    taken = as_declared(found(schema(other, sparse=("bm25",))), desired(WANTED))  # type: ignore[arg-type]
    assert (taken.schema_version, taken.model) == ("adopted", None)


def test_shards_count_only_where_they_are_declared() -> None:
    two = found(schema(shard_number=2))
    assert as_declared(two, desired(schema())).shard_number is None
    assert as_declared(two, desired(schema())).revision == schema().revision
    assert as_declared(two, desired(schema(shard_number=2))).revision == schema(shard_number=2).revision
    assert as_declared(two, desired(schema(shard_number=4))).shard_number == 2
