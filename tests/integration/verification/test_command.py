"""`teal verify`: a table or JSON, and an exit status that tells the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from devkit.embeddings import HASHING
from devkit.embeddings.process import EmbeddingServer
from teal.cli.main import app
from tests.integration.verification.support import payload_of
from tests.plugins.qdrant import Qdrant


@pytest.fixture
def client(qdrant: Qdrant) -> Iterator[httpx.Client]:
    with qdrant.client() as client:
        yield client


def verify(qdrant: Qdrant, *given: str) -> Result:
    key = ["--api-key", qdrant.api_key] if qdrant.api_key else []
    return CliRunner().invoke(
        app, ["verify", *given, "--url", qdrant.url, "--grpc-port", str(qdrant.grpc_port), *key]
    )


def in_json(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


LENIENT = ("--latency", "1000")


def test_an_equal_pair_passes(qdrant: Qdrant, names: tuple[str, str]) -> None:
    result = verify(qdrant, *names, *LENIENT)
    assert result.exit_code == 0, result.output
    assert "IdParity" in result.stdout
    assert f"{names[0]} → {names[1]}: Passed" in " ".join(result.stdout.split())


def test_on_two_servers(qdrant: Qdrant, names: tuple[str, str]) -> None:
    """The same server by another name is another endpoint."""
    other = qdrant.url.replace("127.0.0.1", "localhost")
    green = (
        "--green-url",
        other,
        "--green-grpc-port",
        str(qdrant.grpc_port),
        "--green-api-key",
        qdrant.api_key or "",
    )
    result = verify(qdrant, *names, *LENIENT, *green, "-o", "json")
    assert result.exit_code == 0, result.output
    assert in_json(result)["verdict"] == "Passed"


def test_a_difference_fails(qdrant: Qdrant, names: tuple[str, str], client: httpx.Client) -> None:
    points = f"/collections/{names[1]}/points/payload?wait=true"
    client.post(points, json={"payload": {"n": -1}, "points": [5]}).raise_for_status()
    try:
        result = verify(qdrant, *names, "-o", "json")
    finally:
        client.put(points, json={"payload": payload_of(5), "points": [5]}).raise_for_status()
    assert result.exit_code == 1, result.output
    failed = [check for check in in_json(result)["checks"] if check["verdict"] == "Failed"]
    assert {check["name"]: check["samples"] for check in failed} == {"Content": ["5"], "Payloads": ["5"]}


def test_no_answer_is_neither(qdrant: Qdrant, names: tuple[str, str]) -> None:
    result = verify(qdrant, *names, *LENIENT, "--overlap", "0.9", "--sample", "2")
    assert result.exit_code == 2, result.output
    assert "Inconclusive" in result.stdout
    result = verify(qdrant, names[0], "nobody")
    assert result.exit_code == 2
    assert "has no collection 'nobody'" in result.stderr


def test_golden_queries_need_an_embedder(qdrant: Qdrant, names: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "golden.yaml"
    file.write_text("- {query: how, relevant: [1]}")
    result = verify(qdrant, *names, "--golden", str(file))
    assert result.exit_code == 2
    assert "needs --embedder" in " ".join(result.stderr.split())
    result = verify(qdrant, *names, "--golden", str(file), "--embedder", "http://127.0.0.1:1/v1")
    assert result.exit_code == 2
    assert "give --model" in result.stderr


def test_golden_queries_in_a_new_encoder(
    qdrant: Qdrant, prefix: str, client: httpx.Client, tmp_path: Path
) -> None:
    texts = ["open a file for reading", "parse a date from text", "send an email message", "compress with gzip",
             "start a new thread", "compute a square root", "sort a list in place"]  # fmt: skip
    file = tmp_path / "golden.yaml"
    file.write_text("- {query: file reading, relevant: [0], k: 1}\n- {query: square root, relevant: [5], k: 1}\n")
    blue, green = f"{prefix}blue", f"{prefix}green"
    with EmbeddingServer.start(models=[HASHING]) as embedder:
        body = {"model": HASHING, "input": texts}
        made = httpx.post(f"{embedder.url}/embeddings", json=body).raise_for_status().json()["data"]
        rows = [each["embedding"] for each in made]
        for name, vectors in ((blue, [[1.0, float(n)] for n in range(7)]), (green, rows)):
            size = {"size": len(vectors[0]), "distance": "Cosine"}
            client.put(f"/collections/{name}", json={"vectors": size}).raise_for_status()
            points = [{"id": n, "vector": v, "payload": {"text": texts[n]}} for n, v in enumerate(vectors)]
            client.put(f"/collections/{name}/points?wait=true", json={"points": points}).raise_for_status()
        golden = ("--golden", str(file), "--embedder", embedder.url, "--model", HASHING)
        result = verify(qdrant, blue, green, *LENIENT, *golden, "-o", "json")
    assert result.exit_code == 0, result.output
    checks = {check["name"]: check for check in in_json(result)["checks"]}
    assert (checks["Recall"]["observed"], checks["NDCG"]["observed"]) == ("1.0", "1.0")
    assert "Drift" in checks
    assert "Overlap" not in checks
