"""Manifests judged without a cluster."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from teal.api.manifest import ManifestError, parse
from teal.api.vector_collection import VectorCollection
from tests.unit.api.manifests import BAD, GOOD, Bad, collection, embeddings


def problems(manifest: Any) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as raised:
        parse(manifest)
    return raised.value.problems


@pytest.mark.parametrize("name", GOOD)
def test_good_manifests_are_accepted_and_survive_a_round_trip(name: str) -> None:
    parsed = parse(GOOD[name])
    assert parse(parsed.dump()) == parsed


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.why)
def test_bad_manifests_are_refused_at_the_field(bad: Bad) -> None:
    (problem,) = problems(bad.manifest)
    assert problem.startswith(f"{bad.path}: " if bad.path else "the ")
    assert bad.message in problem


def test_a_typo_is_refused_with_its_path_and_the_field_that_was_meant() -> None:
    manifest = collection(
        hnsw={"efConstrct": 100}, payloadIndexes=[{"field": "f", "type": "bool", "ondisk": True}]
    )
    assert problems(manifest) == (
        "spec.hnsw.efConstrct: is not a field; did you mean efConstruct?",
        "spec.payloadIndexes[0].ondisk: is not a field; did you mean onDisk?",
    )


def test_names_as_python_has_them_are_no_fields_of_a_manifest() -> None:
    assert problems(collection(shard_number=2)) == (
        "spec.shard_number: is not a field; did you mean shardNumber?",
    )
    with pytest.raises(ValidationError):
        VectorCollection.model_validate(collection(shard_number=2))


def test_all_mistakes_are_told_at_once_and_none_twice() -> None:
    manifest = collection(dimensions=None, vectors=[{"name": "a/b", "dimensions": 0}], suspend="yes")
    assert [problem.split(": ")[0] for problem in problems(manifest)] == [
        "spec.vectors[0].name",
        "spec.vectors[0].dimensions",
        "spec.suspend",
    ]


def test_the_refused_value_is_shown_where_it_is_short() -> None:
    assert problems(embeddings(dimensions=0)) == ("spec.dimensions: must be greater than or equal to 1, got 0",)
    (problem,) = problems(collection(deletionPolicy="x" * 100))
    assert "xxx" not in problem


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "must be an object"),
        ([], "must be an object"),
        ({**collection(), "kind": "Deployment"}, "expected apiVersion teal.dev/v1alpha1 and kind"),
        ({**collection(), "apiVersion": "teal.dev/v1"}, "expected apiVersion teal.dev/v1alpha1 and kind"),
        ({**collection(), "metadata": {}}, "metadata.name: is required"),
        ({**collection(), "metadata": "docs"}, "metadata: must be an object"),
        ({**collection(), "spec": []}, "spec: must be an object"),
        ({**collection(), "specs": {}}, "specs: is not a field; did you mean spec?"),
        (collection(vectors={}, dimensions=None), "spec.vectors: must be a list"),
    ],
)
def test_documents_of_another_shape_are_refused_in_words(manifest: Any, said: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse(manifest)
    assert said in str(raised.value)


def test_the_error_names_the_object() -> None:
    with pytest.raises(ManifestError, match=r"VectorCollection docs is not valid:\n  spec\.dimensions: "):
        parse(collection(dimensions=0))


def test_metadata_that_is_not_ours_is_passed_over() -> None:
    manifest = collection()
    manifest["metadata"] |= {"managedFields": [{"manager": "kubectl"}], "labels": {"team": "search"}}
    assert parse(manifest).metadata.labels == {"team": "search"}


@pytest.mark.parametrize("status", [{"phase": "Dreaming"}, {"conditions": [{"type": "Ready"}]}, "none"])
def test_a_status_that_cannot_be_read_counts_as_none(status: Any) -> None:
    assert parse({**collection(), "status": status}).status is None


def test_a_newer_operators_status_is_read_as_far_as_it_is_known() -> None:
    parsed = VectorCollection.model_validate(
        {**collection(), "status": {"phase": "Ready", "mood": "good", "active": {"collection": "c", "heat": 3}}}
    )
    assert parsed.status is not None
    assert parsed.status.phase == "Ready"
    assert parsed.status.active is not None
    assert parsed.status.active.collection == "c"


def test_the_alias_is_the_name_where_none_is_given() -> None:
    assert VectorCollection.model_validate(collection()).alias == "docs"
    spec = VectorCollection.model_validate(collection(alias="d")).spec
    assert spec.effective_alias("docs") == "d"


def test_specs_are_values() -> None:
    first, second = parse(deepcopy(collection())), parse(collection())
    assert hash(first.spec) == hash(second.spec)
    with pytest.raises(ValidationError, match="frozen"):
        first.spec.dimensions = 3


def test_defaults_of_the_policies() -> None:
    spec = VectorCollection.model_validate(collection()).spec
    promotion = spec.migration.promotion
    assert (promotion.mode, promotion.fence) == ("Automatic", "WhenBusy")
    assert (promotion.quiet_wait, promotion.max_fence) == (timedelta(minutes=5), timedelta(seconds=10))
    assert (spec.retention.keep_for, spec.retention.snapshot) == (timedelta(hours=48), True)
    assert (spec.watch.duration, spec.watch.interval) == (timedelta(minutes=30), timedelta(seconds=30))
    assert (spec.deletion_policy, spec.suspend) == ("Retain", False)
