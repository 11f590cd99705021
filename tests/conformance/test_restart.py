"""What was acknowledged is there after a stop and after a kill, and versions go on from where they were.

Only for the embedded server, and for one of its own: nobody restarts a shared one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devkit.qdrant import EmbeddedQdrant
from tests.conformance.client import Rest
from tests.plugins.qdrant import Qdrant

Json = Any

IDS = list(range(1, 51))
PROBE = [1, 1, 1, 1]
CONFIG: Json = {
    "vectors": {"size": 4, "distance": "Cosine"},
    "shard_number": 2,
    "optimizers_config": {"indexing_threshold": 0},
    "strict_mode_config": {"enabled": True, "max_query_limit": 1000},
    "metadata": {"teal.dev/owner": {"uid": "u1"}},
}


@pytest.fixture(scope="module")
def server(qdrant: Qdrant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedQdrant]:
    if qdrant.embedded is None:
        pytest.skip("a server that is not ours is not restarted")
    folder: Path = tmp_path_factory.mktemp("qdrant")
    with EmbeddedQdrant.start(folder) as started:
        yield started


@pytest.fixture
def own(server: EmbeddedQdrant) -> Iterator[Rest]:
    """REST calls to the server that is restarted, empty again after each test."""
    with Rest(server.url) as caller:
        yield caller
        for name in caller.collections():
            caller.drop(name)


def fill(rest: Rest) -> None:
    """Collection `docs` behind alias `live`, with an index, a deleted point and a partial change."""
    rest.create("docs", **CONFIG)
    rest.point_alias("live", "docs")
    rest.upsert("docs", [{"id": i, "vector": [i, 1, 2, 3], "payload": {"n": i, "even": i % 2 == 0}} for i in IDS])
    rest.index("docs", "n", {"type": "integer", "lookup": True, "range": True})
    rest.delete("docs", 7)
    rest.set_payload("live", [8], {"late": [None, 1.5]})


def everything(rest: Rest) -> Json:
    """All that a restart must keep; `op_num` and times are not part of it."""
    info = rest.info("docs")
    return {
        "aliases": rest.aliases(""),
        "collections": rest.collections(),
        "config": info["config"],
        "payload_schema": info["payload_schema"],
        "points": rest.scroll("live", limit=1000, with_vector=True),
        "versions": rest.versions("live", IDS, PROBE),
    }


def restart(server: EmbeddedQdrant) -> None:
    server.restart()


def crash(server: EmbeddedQdrant) -> None:
    server.kill()
    server.restart()


@pytest.mark.parametrize("again", [restart, crash])
def test_everything_is_still_there_and_versions_go_on(server: EmbeddedQdrant, own: Rest, again: Any) -> None:
    fill(own)
    before = everything(own)
    assert len(before["points"]["points"]) == len(IDS) - 1
    url = server.url

    again(server)

    assert server.url == url
    with Rest(server.url) as rest:
        assert everything(rest) == before
        rest.upsert("live", [{"id": 3, "vector": [1, 1, 1, 1]}])
        assert rest.versions("live", [3], PROBE)[3] > max(before["versions"].values())


def test_a_crash_loses_no_acknowledged_write(server: EmbeddedQdrant, own: Rest) -> None:
    """Also those that were acknowledged before they were applied."""
    own.create("docs", **CONFIG)
    path = "/collections/docs/points?wait=false"
    for i in IDS:
        done = own.ok("PUT", path, {"points": [{"id": i, "vector": [i, 1, 2, 3]}]})
        assert done["status"] == "acknowledged"

    crash(server)

    with Rest(server.url) as rest:
        assert rest.ids("docs") == IDS


def test_changed_settings_outlive_a_crash(server: EmbeddedQdrant, own: Rest) -> None:
    own.create("docs", **CONFIG)
    own.create("other", **CONFIG)
    own.point_alias("live", "docs")
    own.patch("docs", hnsw_config={"m": 32}, metadata={"x": 1}, strict_mode_config={"write_rate_limit": 1})
    own.point_alias("live", "other")
    own.drop("docs")
    own.patch("other", strict_mode_config={"write_rate_limit": 1})
    config = own.info("other")["config"]

    crash(server)

    with Rest(server.url) as rest:
        assert rest.aliases("") == {"live": "other"}
        assert rest.info("live")["config"] == config
        more_than_one_a_shard = [{"id": i, "vector": [1, 1, 1, 1]} for i in IDS]
        assert rest.try_upsert("live", more_than_one_a_shard).status == 429
