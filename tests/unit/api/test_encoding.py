"""The three ways to say what the vectors are lead to one answer."""

from __future__ import annotations

import pytest

from teal.api.embedding_set import EmbeddingSet
from teal.api.parameters import DenseVectorSpec
from teal.api.vector_collection import Encoding, VectorCollection
from tests.unit.api.manifests import collection, embeddings


def test_inline_dimensions_are_the_unnamed_vector_with_defaults() -> None:
    spec = VectorCollection.model_validate(collection()).spec
    assert spec.encoding() == Encoding("v1", None, (DenseVectorSpec(name="", dimensions=384),))


def test_inline_in_full() -> None:
    manifest = collection(distance="Dot", datatype="Uint8", schemaVersion="v7", model="m")
    vector = DenseVectorSpec(name="", dimensions=384, distance="Dot", datatype="Uint8")
    assert VectorCollection.model_validate(manifest).spec.encoding() == Encoding("v7", "m", (vector,))


def test_an_embedding_set_says_all_of_it() -> None:
    spec = VectorCollection.model_validate(collection(dimensions=None, embeddingSetRef={"name": "e"})).spec
    eset = EmbeddingSet.model_validate(embeddings(schemaVersion="v2", distance="Euclid", model="m")).spec
    vector = DenseVectorSpec(name="", dimensions=384, distance="Euclid")
    assert spec.encoding(eset) == Encoding("v2", "m", (vector,))


def test_a_missing_embedding_set_is_an_error() -> None:
    spec = VectorCollection.model_validate(collection(dimensions=None, embeddingSetRef={"name": "e"})).spec
    with pytest.raises(ValueError, match="'e' is needed"):
        spec.encoding(None)


def test_named_vectors_keep_their_names() -> None:
    vectors = [{"name": "a", "dimensions": 3}, {"name": "b", "dimensions": 4, "distance": "Dot"}]
    spec = VectorCollection.model_validate(collection(dimensions=None, vectors=vectors, schemaVersion="v3")).spec
    encoding = spec.encoding()
    assert encoding.schema_version == "v3"
    assert [(vector.name, vector.distance) for vector in encoding.vectors] == [("a", "Cosine"), ("b", "Dot")]
