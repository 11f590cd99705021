"""The embedder against a scripted server: what is retried, what is refused, and what is never paid for twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.errors import HeldError, TerminalError, TransientError
from teal.sources.embedder import OpenAIEmbedder
from teal.sources.errors import (
    BadVectorError,
    BudgetExceededError,
    EmbedderRefusedError,
    EmbedderUnavailableError,
    NonsenseAnswerError,
    WrongDimensionsError,
)
from teal.sources.pacing import Backoff
from tests.unit.sources.fake_server import DIMENSIONS, FakeServer, answer, vector_of

URL = "http://embedder/v1"
QUICK = Backoff(attempts=3, first=0.001, longest=0.01)
TEXTS = [f"text number {number}" for number in range(10)]

Make = Callable[..., OpenAIEmbedder]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes embedders over a fake server, and closes their clients."""
    clients: list[httpx.AsyncClient] = []

    def make(server: httpx.AsyncBaseTransport, **options: Any) -> OpenAIEmbedder:
        clients.append(httpx.AsyncClient(transport=server))
        options = {"backoff": QUICK, "client": clients[-1]} | options
        return OpenAIEmbedder(URL, "some-model", DIMENSIONS, **options)

    yield make
    for client in clients:
        await client.aclose()


def expected(texts: list[str]) -> Any:
    return np.stack([vector_of(text) for text in texts])


async def test_vectors_stand_in_the_order_of_the_texts(make: Make) -> None:
    server = FakeServer()
    embedded = await make(server, batch_size=3).embed(TEXTS)
    np.testing.assert_array_equal(embedded.vectors, expected(TEXTS))
    assert embedded.vectors.dtype == np.float32
    assert [len(texts) for texts in server.asked] == [3, 3, 3, 1]
    assert (embedded.tokens, embedded.estimated) == (len(TEXTS), False)


async def test_the_index_decides_not_the_position(make: Make) -> None:
    def shuffled(texts: list[str]) -> httpx.Response:
        data = answer(texts).json()["data"]
        return answer(texts, data=data[::-1])

    embedded = await make(FakeServer(shuffled)).embed(TEXTS)
    np.testing.assert_array_equal(embedded.vectors, expected(TEXTS))


async def test_without_indexes_the_position_decides(make: Make) -> None:
    def bare(texts: list[str]) -> httpx.Response:
        return answer(texts, data=[{"embedding": item["embedding"]} for item in answer(texts).json()["data"]])

    embedded = await make(FakeServer(bare)).embed(TEXTS)
    np.testing.assert_array_equal(embedded.vectors, expected(TEXTS))


async def test_no_texts_ask_for_nothing(make: Make) -> None:
    server = FakeServer()
    embedded = await make(server).embed([])
    assert embedded.vectors.shape == (0, DIMENSIONS)
    assert server.asked == []


async def test_equal_texts_are_embedded_once_and_remembered(make: Make) -> None:
    server = FakeServer()
    embedder = make(server, batch_size=2)
    texts = ["a", "b", "a", "c", "b", "a"]
    np.testing.assert_array_equal((await embedder.embed(texts)).vectors, expected(texts))
    again = await embedder.embed(["c", "a"])
    np.testing.assert_array_equal(again.vectors, expected(["c", "a"]))
    assert sorted(server.all_texts) == ["a", "b", "c"]
    assert again.tokens == 0


async def test_a_text_that_is_being_embedded_is_not_sent_again(make: Make) -> None:
    server = FakeServer()
    embedder = make(server, batch_size=4)
    calls = [TEXTS[:4], TEXTS[2:6], TEXTS[:4]]
    for texts, embedded in zip(calls, await asyncio.gather(*map(embedder.embed, calls)), strict=True):
        np.testing.assert_array_equal(embedded.vectors, expected(texts))
    assert server.asked == [TEXTS[:4], TEXTS[4:6]]


async def test_whoever_waited_for_a_call_that_failed_asks_by_itself(make: Make) -> None:
    server = FakeServer(httpx.Response(401), answer)
    embedder = make(server)
    first, second = await asyncio.gather(embedder.embed(TEXTS), embedder.embed(TEXTS), return_exceptions=True)
    assert isinstance(first, EmbedderRefusedError)
    assert not isinstance(second, BaseException)
    np.testing.assert_array_equal(second.vectors, expected(TEXTS))


@given(
    texts=st.lists(st.text(min_size=1, max_size=3), max_size=30),
    batch_size=st.integers(1, 7),
    parallelism=st.integers(1, 4),
)
def test_any_texts_in_any_batches_give_their_own_vectors(
    texts: list[str], batch_size: int, parallelism: int
) -> None:
    async def run() -> None:
        server = FakeServer()
        async with httpx.AsyncClient(transport=server) as client:
            embedder = OpenAIEmbedder(
                URL, "m", DIMENSIONS, batch_size=batch_size, parallelism=parallelism, client=client
            )
            vectors = (await embedder.embed(texts)).vectors
        assert vectors.shape == (len(texts), DIMENSIONS)
        for text, vector in zip(texts, vectors, strict=True):
            np.testing.assert_array_equal(vector, vector_of(text))
        assert sorted(server.all_texts) == sorted(set(texts))

    asyncio.run(run())


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(500),
        httpx.Response(503, text="<html>starting</html>"),
        httpx.Response(429, headers={"Retry-After": "0"}),
        httpx.Response(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        httpx.Response(200, text="<html>It works!</html>"),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, json=[]),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError("disconnected"),
    ],
    ids=repr,
)
async def test_what_can_pass_is_tried_again(make: Make, trouble: httpx.Response | Exception) -> None:
    server = FakeServer(trouble, trouble)
    embedded = await make(server).embed(TEXTS[:2])
    np.testing.assert_array_equal(embedded.vectors, expected(TEXTS[:2]))
    assert len(server.asked) == 3


async def test_an_embedder_that_stays_down_is_a_transient_error(make: Make) -> None:
    server = FakeServer(*[httpx.ConnectError("connection refused")] * 3)
    with pytest.raises(EmbedderUnavailableError, match="cannot be reached: connection refused") as caught:
        await make(server).embed(["a"])
    assert isinstance(caught.value, TransientError)
    assert len(server.asked) == 3


async def test_a_long_pause_is_left_to_the_caller(make: Make) -> None:
    server = FakeServer(httpx.Response(429, headers={"Retry-After": "3600"}, json={"error": "slow down"}))
    with pytest.raises(EmbedderUnavailableError, match=r"answers 429. It said: slow down") as caught:
        await make(server).embed(["a"])
    assert caught.value.retry_after == 3600
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("trouble", "pauses"),
    [
        # While the clock stands still, everybody's next turn is as far away as the pause.
        (httpx.Response(429, headers={"Retry-After": "20"}), [20, 20]),
        # The server's pause is shorter than ours would be at the least.
        (httpx.Response(429, headers={"Retry-After": "1"}), [8, 8]),
        (httpx.Response(500), [8, 0]),
    ],
    ids=["named", "named, but too short", "not named"],
)
async def test_a_pause_that_a_server_names_holds_every_request_back(
    make: Make, monkeypatch: pytest.MonkeyPatch, trouble: httpx.Response, pauses: list[float]
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(random, "uniform", lambda *bounds: max(bounds))
    backoff = Backoff(attempts=3, first=8, longest=30)
    await make(FakeServer(trouble), backoff=backoff, clock=lambda: 100.0, sleep=sleep).embed(["a"])
    assert slept == [0, *pauses]


async def test_nonsense_that_stays_is_terminal(make: Make) -> None:
    nonsense = httpx.Response(200, json={"embeddings": [[1, 2]]})
    with pytest.raises(NonsenseAnswerError, match="no list `data`") as caught:
        await make(FakeServer(*[nonsense] * 3)).embed(["a"])
    assert isinstance(caught.value, TerminalError)


@pytest.mark.parametrize("indexes", [[0, 0], [1, 2], [0, None], ["0", "1"]])
async def test_indexes_that_do_not_number_the_texts_are_nonsense(make: Make, indexes: list[Any]) -> None:
    data = [{"index": index, "embedding": [0.5] * DIMENSIONS} for index in indexes]
    with pytest.raises(NonsenseAnswerError, match="from 0 to 1"):
        await make(FakeServer(*[httpx.Response(200, json={"data": data})] * 3)).embed(["a", "b"])


@pytest.mark.parametrize(
    ("response", "advice"),
    [
        (httpx.Response(401), "correct the key in Secret search/tei"),
        (httpx.Response(403), "correct the key in Secret search/tei"),
        (
            httpx.Response(404, json={"error": {"message": "no such model"}}),
            "'some-model'. It said: no such model",
        ),
        (httpx.Response(400, json={"message": "bad"}), "Check the embedder's url and the model"),
        (httpx.Response(422, json={"error": "batch size 1 > 0"}), "Lower batchSize"),
        (
            httpx.Response(307, headers={"Location": "http://elsewhere"}),
            "use the URL that answers without a redirect",
        ),
    ],
)
async def test_a_refusal_is_terminal_at_once_and_says_what_to_do(
    make: Make, response: httpx.Response, advice: str
) -> None:
    server = FakeServer(response)
    with pytest.raises(EmbedderRefusedError) as caught:
        await make(server, api_key_name="Secret search/tei").embed(["a"])
    assert advice in str(caught.value)
    assert f"{URL}/embeddings" in str(caught.value)
    assert isinstance(caught.value, TerminalError)
    assert len(server.asked) == 1


async def test_a_text_that_the_server_repeats_is_not_shown(make: Make) -> None:
    secret = "the patient's name is Ada and she lives at 12 Elm Street"
    response = httpx.Response(400, json={"error": {"message": f"cannot embed: {secret[:40]}..."}})
    with pytest.raises(EmbedderRefusedError) as caught:
        await make(FakeServer(response)).embed([secret])
    assert "cannot embed:" in str(caught.value)
    assert "patient" not in str(caught.value)


async def test_the_servers_words_are_shortened(make: Make) -> None:
    response = httpx.Response(400, json={"detail": "long " * 1000})
    with pytest.raises(EmbedderRefusedError) as caught:
        await make(FakeServer(response)).embed(["a text"])
    assert len(str(caught.value)) < 400


async def test_the_key_is_read_for_every_request_and_never_shown(make: Make) -> None:
    keys = ["first-secret", "second-secret", None]

    async def key() -> str | None:
        return keys.pop(0)

    server = FakeServer(None, httpx.Response(500))  # type: ignore[arg-type]
    embedder = make(server, api_key=key)
    await embedder.embed(["a"])
    await embedder.embed(["b"])
    sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == ["Bearer first-secret", "Bearer second-secret", None]


@pytest.mark.parametrize(
    ("embedding", "error", "problem"),
    [
        ([0.5] * (DIMENSIONS - 1), WrongDimensionsError, "7 dimensions where 8"),
        ([0.5] * (DIMENSIONS - 1) + [None], BadVectorError, "NaN"),
        ([0.5] * (DIMENSIONS - 1) + [1e39], BadVectorError, "infinite"),
        ([[0.5]] * DIMENSIONS, BadVectorError, "not a list of numbers"),
        ("AAAA", BadVectorError, "not a list of numbers"),
        (None, BadVectorError, "not a list of numbers"),
        ([], BadVectorError, "not a list of numbers"),
    ],
)
async def test_a_wrong_vector_names_its_text(
    make: Make, embedding: Any, error: type[WrongDimensionsError | BadVectorError], problem: str
) -> None:
    texts = ["a", "b", "a", "c", "bad", "d", "bad"]

    def spoil(asked: list[str]) -> httpx.Response:
        data = answer(asked).json()["data"]
        if "bad" in asked:
            data[asked.index("bad")]["embedding"] = embedding
        return answer(asked, data=data)

    with pytest.raises(error, match=problem) as caught:
        await make(FakeServer(*[spoil] * 9), batch_size=2).embed(texts)
    assert caught.value.index == texts.index("bad")
    assert isinstance(caught.value, HeldError)


async def test_what_was_paid_for_before_a_failure_is_not_paid_for_again(make: Make) -> None:
    def refuse_nine(texts: list[str]) -> httpx.Response:
        return httpx.Response(400) if TEXTS[9] in texts else answer(texts)

    server = FakeServer(*[refuse_nine] * 10)
    embedder = make(server, batch_size=1, parallelism=1)
    with pytest.raises(EmbedderRefusedError):
        await embedder.embed(TEXTS)
    assert len(server.asked) == 10
    await embedder.embed(TEXTS)
    assert server.asked[10:] == [[TEXTS[9]]]


async def test_after_a_failure_nothing_more_is_sent(make: Make) -> None:
    server = FakeServer(httpx.Response(400))
    with pytest.raises(EmbedderRefusedError):
        await make(server, batch_size=1, parallelism=1).embed(TEXTS)
    assert server.asked == [[TEXTS[0]]]


async def test_no_more_requests_at_once_than_allowed(make: Make) -> None:
    class Gauge(FakeServer):
        now = most = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.002)
            self.now -= 1
            return await super().handle_async_request(request)

    server = Gauge()
    embedder = make(server, batch_size=1, parallelism=3)
    await asyncio.gather(embedder.embed(TEXTS[:5]), embedder.embed(TEXTS[5:]))
    assert server.most == 3


async def test_the_budget_stops_before_it_is_exceeded(make: Make) -> None:
    server = FakeServer()
    embedder = make(server, batch_size=1, parallelism=4, max_tokens=6)
    with pytest.raises(BudgetExceededError, match="maxTokens") as caught:
        await embedder.embed(TEXTS)
    assert isinstance(caught.value, TerminalError)
    assert caught.value.reason == "BudgetExceeded"
    assert caught.value.limit == 6
    assert caught.value.spent == embedder.tokens_spent <= 6
    assert len(server.asked) == embedder.tokens_spent


async def test_tokens_spent_before_a_restart_count(make: Make) -> None:
    server = FakeServer()
    with pytest.raises(BudgetExceededError):
        await make(server, max_tokens=100, tokens_spent=99).embed(TEXTS)
    assert server.asked == []


async def test_tokens_that_are_not_reported_are_estimated(make: Make) -> None:
    def no_usage(texts: list[str]) -> httpx.Response:
        return answer(texts, usage=None)

    embedder = make(FakeServer(no_usage))
    embedded = await embedder.embed(TEXTS)
    assert embedded.estimated
    assert embedded.tokens == embedder.tokens_spent > 0


async def test_a_request_whose_answer_was_lost_counts_as_paid_for(make: Make) -> None:
    lost = make(FakeServer(httpx.ReadTimeout("")))
    await lost.embed(["a"])
    refused = make(FakeServer(httpx.ConnectError("")))
    await refused.embed(["a"])
    assert lost.tokens_spent > refused.tokens_spent == 1


@pytest.mark.parametrize("body", [b"<html>", b'{"data": []}'], ids=["no JSON", "no vectors"])
async def test_an_answer_that_cannot_be_read_counts_as_paid_for(make: Make, body: bytes) -> None:
    unreadable = make(FakeServer(httpx.Response(200, content=body)))
    await unreadable.embed(["a"])
    assert unreadable.tokens_spent > 1  # the right answer to the second attempt is one token


async def test_a_cancelled_call_leaves_the_embedder_usable(make: Make) -> None:
    class Stuck(FakeServer):
        reached = asyncio.Event()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if not self.asked:
                self.asked.append([])
                self.reached.set()
                await asyncio.Event().wait()
            return await super().handle_async_request(request)

    server = Stuck()
    embedder = make(server, parallelism=1, max_tokens=100)
    call = asyncio.create_task(embedder.embed(TEXTS))
    await server.reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    np.testing.assert_array_equal((await embedder.embed(TEXTS)).vectors, expected(TEXTS))


async def test_a_probe_reports_what_there_is(make: Make) -> None:
    def other_size(texts: list[str]) -> httpx.Response:
        return answer(texts, data=[{"index": 0, "embedding": [0.25] * 12}])

    embedder = make(FakeServer(None, None, other_size))  # type: ignore[arg-type]
    first, second, other = await embedder.probe(), await embedder.probe(), await embedder.probe()
    assert first == second
    assert (first.dimensions, other.dimensions) == (DIMENSIONS, 12)
    assert first.fingerprint != other.fingerprint


async def test_an_embedder_closes_only_its_own_client() -> None:
    async with httpx.AsyncClient(transport=FakeServer()) as client:
        async with OpenAIEmbedder(URL, "m", DIMENSIONS, client=client) as embedder:
            await embedder.embed(["a"])
        assert not client.is_closed
    own = OpenAIEmbedder(URL, "m", DIMENSIONS)
    await own.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await own.embed(["a"])
