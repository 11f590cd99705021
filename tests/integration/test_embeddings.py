"""Real encoders, a real embedding server, and Teal's client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from devkit import corpus
from devkit.embeddings import HASHING, MINILM, EmbeddingServer, encoders
from devkit.embeddings.initial import vectors_of
from teal.sources.embedder import OpenAIEmbedder
from teal.sources.errors import (
    BadVectorError,
    EmbedderRefusedError,
    EmbedderUnavailableError,
    NonsenseAnswerError,
    WrongDimensionsError,
)
from teal.sources.pacing import Backoff

SMALL = "teal/hashing-svd-32"


def texts() -> list[str]:
    return [entry.text for entry in corpus.sample(100)]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer.start(models=[SMALL], api_key="right", faults=True) as server:
        yield server


@pytest.fixture
def server(shared_server: EmbeddingServer) -> Iterator[EmbeddingServer]:
    yield shared_server
    shared_server.faults()


async def right_key() -> str:
    return "right"


def embedder(
    server: EmbeddingServer, model: str = SMALL, dimensions: int = 32, **options: object
) -> OpenAIEmbedder:
    options = {"api_key": right_key, "backoff": Backoff(attempts=3, first=0.01)} | options
    return OpenAIEmbedder(server.url, model, dimensions, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [MINILM, HASHING])
def test_texts_of_one_meaning_are_near(model: str) -> None:
    encoder = encoders.load(model)
    vectors, tokens = encoder.embed(
        [
            "Close the connection and free its resources.",
            "Closes a connection, releasing all resources.",
            "Return the arithmetic mean of the numbers.",
        ]
    )
    assert vectors.shape == (3, encoder.dimensions)
    assert tokens > 10
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    same, other = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert same > other + 0.3


@pytest.mark.parametrize("model", [MINILM, HASHING])
def test_a_vector_does_not_depend_on_its_batch(model: str) -> None:
    encoder = encoders.load(model)
    together, _ = encoder.embed(texts()[:12])
    alone = np.vstack([encoder.embed([text])[0] for text in texts()[:12]])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_minilm_agrees_with_its_published_similarity() -> None:
    """The value that the model's documentation shows for this pair; our GELU is an approximation, hence `abs`."""
    vectors, _ = encoders.load(MINILM).embed(["A man is eating food.", "A man is eating a piece of bread."])
    assert vectors[0] @ vectors[1] == pytest.approx(0.7553, abs=5e-4)


def test_minilm_reads_no_more_than_its_256_tokens() -> None:
    encoder = encoders.load(MINILM)
    long = "word " * 300
    (once, longer), tokens = encoder.embed([long, long + "and something else entirely"])
    assert tokens == 2 * 256
    np.testing.assert_allclose(once, longer, atol=1e-5)


def test_an_unknown_model_is_refused_by_name() -> None:
    for name in ("gpt", "teal/hashing-svd-x"):
        with pytest.raises(encoders.UnknownModelError, match=name):
            encoders.load(name)
    with pytest.raises(ValueError, match="2 to 1024"):
        encoders.load("teal/hashing-svd-5000")


async def test_a_corpus_is_embedded_over_http_and_paid_for_once(server: EmbeddingServer) -> None:
    before = server.calls("teal")
    async with embedder(server, batch_size=16) as client:
        first = await client.embed(texts())
        again = await client.embed(texts()[::-1])
    expected, tokens = encoders.load(SMALL).embed(texts())
    np.testing.assert_array_equal(first.vectors, expected)
    np.testing.assert_array_equal(again.vectors, expected[::-1])
    after = server.calls("teal")
    assert after.texts - before.texts == len(texts())
    assert after.tokens - before.tokens == tokens == first.tokens
    assert (first.estimated, again.tokens) == (False, 0)


async def test_a_probe_tells_encoders_apart(server: EmbeddingServer) -> None:
    async with embedder(server) as one, embedder(server, "teal/hashing-svd-64") as other:
        small, again, large = await one.probe(), await one.probe(), await other.probe()
    assert (small.dimensions, large.dimensions) == (32, 64)
    assert small.fingerprint == again.fingerprint != large.fingerprint


@pytest.mark.parametrize("kind", ["error", "rate-limit", "disconnect", "not-json", "wrong-count", "shuffled"])
async def test_a_passing_fault_is_survived(server: EmbeddingServer, kind: str) -> None:
    server.faults({"kind": kind, "times": 2, "seconds": 0.01})
    async with embedder(server, batch_size=8) as client:
        vectors = (await client.embed(texts()[:20])).vectors
    np.testing.assert_array_equal(vectors, encoders.load(SMALL).embed(texts()[:20])[0])


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("error", EmbedderUnavailableError),
        ("disconnect", EmbedderUnavailableError),
        ("not-json", EmbedderUnavailableError),
        ("wrong-count", NonsenseAnswerError),
        ("bad-key", EmbedderRefusedError),
    ],
)
async def test_a_lasting_fault_is_named(server: EmbeddingServer, kind: str, error: type[Exception]) -> None:
    server.faults({"kind": kind, "times": None})
    async with embedder(server) as client:
        with pytest.raises(error):
            await client.embed(texts()[:5])


@pytest.mark.parametrize(("kind", "error"), [("nan", BadVectorError), ("wrong-dimension", WrongDimensionsError)])
async def test_a_spoilt_vector_names_its_text(
    server: EmbeddingServer, kind: str, error: type[BadVectorError | WrongDimensionsError]
) -> None:
    server.faults({"kind": kind, "containing": texts()[37], "times": None})
    async with embedder(server, batch_size=8) as client:
        with pytest.raises(error) as caught:
            await client.embed(texts())
        assert caught.value.index == 37
        await client.embed(texts()[:37])


async def test_a_hanging_server_times_out(server: EmbeddingServer) -> None:
    server.faults({"kind": "hang", "seconds": 60, "times": None})
    async with httpx.AsyncClient(timeout=0.2) as http, embedder(server, client=http) as client:
        with pytest.raises(EmbedderUnavailableError, match="did not answer: ReadTimeout"):
            await client.embed(["a text"])


async def test_a_fault_can_be_for_one_caller_only(server: EmbeddingServer) -> None:
    server.faults({"kind": "bad-key", "agent": "teal", "times": None})
    headers = {"Authorization": "Bearer right", "User-Agent": "somebody/1.0"}
    async with httpx.AsyncClient(headers=headers) as other, embedder(server) as client:
        with pytest.raises(EmbedderRefusedError):
            await client.embed(["a text"])
        answer = await other.post(f"{server.url}/embeddings", json={"model": SMALL, "input": "a text"})
    assert answer.is_success


async def test_a_wrong_key_is_refused(server: EmbeddingServer) -> None:
    async with embedder(server, api_key=None) as client:
        with pytest.raises(EmbedderRefusedError, match="401"):
            await client.embed(["a text"])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": SMALL}, 400, "input"),
        ({"model": SMALL, "input": ""}, 400, "none of them empty"),
        ({"model": SMALL, "input": [1, 2]}, 400, "input"),
        ({"model": SMALL, "input": "a", "encoding_format": "base64"}, 400, "base64"),
        ({"model": SMALL, "input": "a", "dimensions": 16}, 400, "32 dimensions"),
        ({"model": SMALL, "input": ["a"] * 2049}, 413, "batch size 2049"),
        ({"model": "gpt", "input": "a"}, 404, "'gpt' does not exist"),
        ({"model": "teal/hashing-svd-1", "input": "a"}, 400, "2 to 1024"),
    ],
)
async def test_what_is_not_served_is_refused(
    server: EmbeddingServer, body: dict[str, object], status: int, message: str
) -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer right"}) as client:
        answer = await client.post(f"{server.url}/embeddings", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_initial_vectors_are_kept_from_run_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = texts()[:10]
    with EmbeddingServer.start(models=[SMALL]) as server:
        monkeypatch.setenv("TEAL_DEVKIT_HOME", str(tmp_path))
        progress: list[tuple[int, int]] = []
        first = vectors_of(server.url, SMALL, some, lambda done, total: progress.append((done, total)))
        served = server.calls().texts
        again = vectors_of(server.url, SMALL, [*some[::-1], "one more text"])
        assert server.calls().texts == served + 2  # the new text, and the sentence that names the encoder
    assert progress == [(10, 10)]
    np.testing.assert_array_equal(again[:10], first[::-1])


def test_the_corpus_is_large_and_its_texts_are_distinct() -> None:
    entries = corpus.stdlib()
    assert len(entries) >= 2000
    assert len({entry.text for entry in entries}) == len(entries)
    wait = next(entry for entry in entries if entry.source == "threading.Condition.wait_for")
    assert (wait.module, wait.kind) == ("threading", "method")
    assert wait.text == "Wait until a condition evaluates to True."


def test_synthetic_vectors_are_units_and_repeatable() -> None:
    vectors = corpus.synthetic(500, 16)
    assert vectors.shape == (500, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors, corpus.synthetic(500, 16))
    assert not np.array_equal(vectors, corpus.synthetic(500, 16, seed=1))
