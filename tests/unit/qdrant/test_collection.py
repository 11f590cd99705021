"""Answers of a real server, read into the domain's data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teal.domain.errors import TerminalError
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.qdrant.collection import (
    Optimizations,
    Quiescence,
    parse_collection,
    parse_optimizations,
    parse_update_queues,
    readiness,
)

RECORDINGS = Path(__file__).parents[2] / "conformance" / "recordings"


@pytest.fixture(params=["1.18.3", "1.19.0"])
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A real server's answers by case."""
    lines = (RECORDINGS / f"qdrant-{request.param}.jsonl").read_text().splitlines()
    return {case["case"]: case["response"] for case in map(json.loads, lines)}


def collection(params: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"status": "green", "optimizer_status": "ok", "points_count": 0, "config": {"params": params}, **more}


OWNER = {"uid": "u1", "collection": "docs-v2-00000000", "revision": "00000000", "schemaVersion": "v2"}


class TestCollection:
    def test_a_recorded_collection(self, recorded: dict[str, Any]) -> None:
        state = parse_collection("rec-blue", recorded["config after patch"]["result"])
        assert state.schema.vectors == (DenseVector("", 4, Distance.COSINE),)
        assert state.schema.shard_number == 1
        assert state.status == "green"
        assert state.points == 11
        assert state.config["hnsw_config"]["m"] == 24
        assert state.payload_schema["tenant"]["data_type"] == "keyword"
        assert state.optimizer_error is None

    def test_named_vectors(self, recorded: dict[str, Any]) -> None:
        state = parse_collection("rec-blue", recorded["config after adding a named vector"]["result"])
        assert state.schema.vectors == (
            DenseVector("", 4, Distance.COSINE),
            DenseVector("extra", 3, Distance.DOT),
        )

    def test_marks_count_only_on_the_collection_they_name(self) -> None:
        metadata = {"teal.dev/owner": OWNER, "teal.dev/encoder": {"model": "minilm", "schemaVersion": "v2"}}
        result = collection({"vectors": {"size": 4, "distance": "Dot"}})
        result["config"]["metadata"] = metadata
        own = parse_collection("docs-v2-00000000", result)
        clone = parse_collection("a-clone", result)
        assert (own.schema.schema_version, own.schema.model, own.revision) == ("v2", "minilm", "00000000")
        assert (clone.schema.schema_version, clone.schema.model, clone.revision) == ("", None, None)

    def test_every_field_of_a_schema(self) -> None:
        params = {
            "vectors": {
                "size": {"size": 8, "distance": "Manhattan", "datatype": "uint8"},
                "late": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
            },
            "sparse_vectors": {"words": {"modifier": "idf"}, "bm25": {}},
            "shard_number": 3,
            "sharding_method": "custom",
        }
        schema = parse_collection("c", collection(params)).schema
        assert schema.vectors == (
            DenseVector("late", 2, Distance.DOT, multivector="max_sim"),
            DenseVector("size", 8, Distance.MANHATTAN, Datatype.UINT8),
        )
        assert schema.sparse == ("bm25", "words")
        assert (schema.shard_number, schema.sharding_method) == (3, "custom")

    def test_a_collection_without_dense_vectors(self) -> None:
        schema = parse_collection("c", collection({"vectors": {}, "sparse_vectors": {"bm25": {}}})).schema
        assert schema.main is None
        assert schema.sparse == ("bm25",)

    def test_an_unknown_kind_of_vector_is_said_loudly(self) -> None:
        params = {"vectors": {"size": 4, "distance": "Dot", "datatype": "turbo8"}}
        with pytest.raises(TerminalError, match="Turbo8") as caught:
            parse_collection("c", collection(params))
        assert caught.value.reason == "UnsupportedCollection"

    def test_an_optimizers_error(self) -> None:
        result = collection({"vectors": {"size": 4, "distance": "Dot"}}, optimizer_status={"error": "no space"})
        assert parse_collection("c", result).optimizer_error == "no space"


class TestReadiness:
    def test_green_and_idle(self, recorded: dict[str, Any]) -> None:
        state = parse_collection("rec-blue", recorded["get collection"]["result"])
        idle = parse_optimizations(recorded["optimizations"]["result"])
        assert idle == Optimizations(0, 0)
        assert readiness(state, idle).ready
        assert readiness(state, None).ready

    @pytest.mark.parametrize(
        ("changes", "optimizations", "waiting_for"),
        [
            ({"status": "yellow"}, Optimizations(0, 0), "status yellow"),
            ({"queue_length": 3}, Optimizations(0, 0), "3 updates in the queue"),
            ({}, Optimizations(1, 0), "1 optimizations running, 0 queued"),
            ({}, Optimizations(0, 2), "0 optimizations running, 2 queued"),
        ],
    )
    def test_work_left(self, changes: dict[str, Any], optimizations: Optimizations, waiting_for: str) -> None:
        state = parse_collection("c", collection({"vectors": {"size": 4, "distance": "Dot"}}))
        found = readiness(replace(state, **changes), optimizations)
        assert not found.ready
        assert found.waiting_for == waiting_for
        assert found.failed is None

    @pytest.mark.parametrize("optimizations", [None, Optimizations(0, 0), Optimizations(0, 2)])
    def test_grey_needs_a_patch(self, optimizations: Optimizations | None) -> None:
        """After a restart: optimizations are due (and may be listed as queued), and nothing starts them."""
        result = collection({"vectors": {"size": 4, "distance": "Dot"}}, status="grey")
        found = readiness(parse_collection("c", result), optimizations)
        assert not found.ready
        assert found.failed is None
        assert found.needs_patch == {"optimizers_config": {}}
        assert found.waiting_for is not None
        assert "restart" in found.waiting_for

    @pytest.mark.parametrize("changes", [{"status": "green"}, {"status": "yellow"}, {"status": "red"}])
    def test_no_other_status_needs_one(self, changes: dict[str, Any]) -> None:
        result = collection({"vectors": {"size": 4, "distance": "Dot"}}, **changes)
        assert readiness(parse_collection("c", result), Optimizations(0, 2)).needs_patch is None

    def test_a_grey_collection_that_failed_is_not_patched(self) -> None:
        result = collection(
            {"vectors": {"size": 4, "distance": "Dot"}}, status="grey", optimizer_status={"error": "no space"}
        )
        found = readiness(parse_collection("c", result), None)
        assert (found.failed, found.needs_patch) == ("no space", None)

    @pytest.mark.parametrize("changes", [{"status": "red"}, {"optimizer_error": "no space"}])
    def test_failures_do_not_wait(self, changes: dict[str, Any]) -> None:
        state = parse_collection("c", collection({"vectors": {"size": 4, "distance": "Dot"}}))
        found = readiness(replace(state, **changes), Optimizations(0, 0))
        assert not found.ready
        assert found.failed


class TestQuiescence:
    def telemetry(self, recorded: dict[str, Any]) -> dict[str, Any]:
        entry = recorded["telemetry details_level=3, the entry of one collection"]
        return {"collections": {"number_of_collections": 1, "collections": entry}}

    def test_a_recorded_answer(self, recorded: dict[str, Any]) -> None:
        found = parse_update_queues("rec-blue", "http://a:6333", self.telemetry(recorded))
        assert found is not None
        assert list(found.op_nums) == [("http://a:6333", 0)]
        assert found.queued == 0
        assert found.same_as(found)

    def test_a_peer_without_the_collection_has_nothing_to_report(self, recorded: dict[str, Any]) -> None:
        assert parse_update_queues("other", "http://a:6333", self.telemetry(recorded)) == Quiescence({}, 0)

    def test_an_answer_without_queues_proves_nothing(self, recorded: dict[str, Any]) -> None:
        told = json.loads(json.dumps(self.telemetry(recorded)))
        del told["collections"]["collections"][0]["shards"][0]["local"]["update_queue"]
        assert parse_update_queues("rec-blue", "http://a:6333", told) is None
        assert parse_update_queues("rec-blue", "http://a:6333", {"collections": {}}) is None

    @pytest.mark.parametrize(
        "later",
        [
            Quiescence({("a", 0): 8, ("b", 1): 3}, 0),
            Quiescence({("a", 0): 7, ("b", 1): 3}, 1),
            Quiescence({("a", 0): 7}, 0),
        ],
    )
    def test_any_difference_is_unrest(self, later: Quiescence) -> None:
        earlier = Quiescence({("a", 0): 7, ("b", 1): 3}, 0)
        assert not earlier.same_as(later)
        assert not later.same_as(earlier)
        assert earlier.same_as(Quiescence(dict(earlier.op_nums), 0))
