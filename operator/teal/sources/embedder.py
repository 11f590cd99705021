"""Turns texts into vectors through any server with OpenAI's `POST /v1/embeddings`.

Embedding costs money, so Teal avoids paying twice for a text: equal texts are sent once, the vectors of a call
that failed half-way are kept for its repetition, and requests stop before they would exceed the token budget.
Errors that can pass by themselves are retried here for a while; all others say what to do.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import httpx
import numpy as np
from numpy.typing import NDArray

from teal.sources import openai_answer
from teal.sources.errors import EmbedderError, EmbedderUnavailableError, NonsenseAnswerError, VectorError
from teal.sources.fingerprint import SENTENCE, fingerprint
from teal.sources.pacing import Backoff, Charge, Pacer, TokenBudget
from teal.sources.refusals import refusal
from teal.sources.vector_cache import VectorCache

Floats = NDArray[np.float32]
ApiKey = Callable[[], Awaitable[str | None]]

CACHE_BYTES = 64 * 2**20
TIMEOUT = 60.0
USER_AGENT = "teal"


@dataclass(frozen=True)
class Embedded:
    """Vectors of shape (texts, dimensions), one row for each text, and the tokens that this call used.

    `estimated`: the server did not report all of them.
    """

    vectors: Floats
    tokens: int
    estimated: bool


@dataclass(frozen=True)
class ProbedEncoder:
    """What an embedder returns in fact: its dimensions, and its fingerprint (see `sources.fingerprint`)."""

    dimensions: int
    fingerprint: str


class Embedder(Protocol):
    """Turns texts into vectors."""

    async def embed(self, texts: Sequence[str], *, anew: bool = False) -> Embedded:
        """The vectors of `texts`, in the same order. `anew`: none is taken from an earlier answer.

        Raises:
            EmbedderError: its subclass says what can be done; `index` is a position in `texts`.
        """
        ...


@dataclass(frozen=True)
class _Batch:
    texts: list[str]
    vectors: list[Floats]
    tokens: int
    estimated: bool


class OpenAIEmbedder:
    """A client of one embedding server for one migration; safe to share between its streams.

    Args:
        url: base URL including the version, such as `http://tei:8080/v1`.
        model: the name of the encoder, sent with every request.
        dimensions: of every vector; another size is an error.
        api_key: returns the bearer token; called before each request, so that a rotated Secret is noticed.
        api_key_name: how error messages call that Secret.
        batch_size: texts in a request.
        parallelism: parallel requests, over all calls.
        requests_per_minute: None: no limit.
        max_tokens: budget for the life of this object; None: no limit.
        tokens_spent: what this migration had spent before (a restarted operator continues to count).
        client: to share connections; without it the embedder makes its own, which `aclose` closes.
        clock, sleep: used to pace requests and to wait.
    """

    def __init__(
        self,
        url: str,
        model: str,
        dimensions: int,
        *,
        api_key: ApiKey | None = None,
        api_key_name: str = "embedder.openAI.apiKeySecretRef",
        batch_size: int = 64,
        parallelism: int = 4,
        requests_per_minute: int | None = None,
        max_tokens: int | None = None,
        tokens_spent: int = 0,
        backoff: Backoff | None = None,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._url = f"{url.rstrip('/')}/embeddings"
        self._model = model
        self._dimensions = dimensions
        self._api_key = api_key
        self._api_key_name = api_key_name
        self._batch_size = batch_size
        self._slots = asyncio.Semaphore(parallelism)
        self._pacer = Pacer(requests_per_minute, clock=clock, sleep=sleep)
        self._budget = TokenBudget(max_tokens, tokens_spent)
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._cache = VectorCache(CACHE_BYTES)
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT)
        self._owns_client = client is None
        self._asked: dict[str, asyncio.Future[None]] = {}

    @property
    def tokens_spent(self) -> int:
        """Tokens of all calls so far, including those spent before; estimated if the server reported none."""
        return self._budget.spent

    async def embed(self, texts: Sequence[str], *, anew: bool = False) -> Embedded:
        """See `Embedder.embed`."""
        await self._let_others_finish(texts)
        position = {text: index for index, text in reversed(list(enumerate(texts)))}
        kept = () if anew else position
        known = {text: vector for text in kept if (vector := self._cache.get(text)) is not None}
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.update(dict.fromkeys(fresh, asked))
        try:
            batches = await self._embed_all(fresh)
        except VectorError as error:
            error.index = position[fresh[error.index]]
            raise
        finally:
            asked.set_result(None)
            for text in fresh:
                del self._asked[text]
        for batch in batches:
            known.update(zip(batch.texts, batch.vectors, strict=True))
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = known[text]
        return Embedded(vectors, sum(b.tokens for b in batches), any(b.estimated for b in batches))

    async def _let_others_finish(self, texts: Sequence[str]) -> None:
        """A text that another call is embedding is paid for once: its vector becomes known, or is requested
        here.
        """
        while others := {self._asked[text] for text in texts if text in self._asked}:
            await asyncio.wait(others)

    async def probe(self) -> ProbedEncoder:
        """Embed one fixed sentence, to learn the real dimensions and the real encoder. Costs few tokens.

        Raises:
            EmbedderError: as `embed`, except for the dimensions, which are returned and not checked.
        """
        vector = (await self._request([SENTENCE], dimensions=None)).vectors[0]
        return ProbedEncoder(len(vector), fingerprint(vector))

    async def aclose(self) -> None:
        """Close the connections, unless they belong to the caller."""
        if self._owns_client:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _embed_all(self, texts: list[str]) -> list[_Batch]:
        """All batches, or the error of the first one that failed; an index in it is a position in `texts`.

        After a failure no more requests are sent, but running ones are awaited: they are paid for, and cached.
        """
        failed = asyncio.Event()

        async def embed_from(start: int) -> _Batch | None:
            async with self._slots:
                if failed.is_set():
                    return None
                try:
                    return await self._embed_batch(texts[start : start + self._batch_size])
                except EmbedderError as error:
                    failed.set()
                    if isinstance(error, VectorError):
                        error.index += start
                    raise

        starts = range(0, len(texts), self._batch_size)
        outcomes = await asyncio.gather(*map(embed_from, starts), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [batch for batch in outcomes if isinstance(batch, _Batch)]

    async def _embed_batch(self, texts: list[str]) -> _Batch:
        batch = await self._request(texts, self._dimensions)
        for text, vector in zip(texts, batch.vectors, strict=True):
            self._cache.put(text, vector)
        return batch

    async def _request(self, texts: list[str], dimensions: int | None) -> _Batch:
        """One batch, tried several times if that can help."""
        for attempt in itertools.count(1):
            try:
                return await self._attempt(texts, dimensions)
            except (EmbedderUnavailableError, NonsenseAnswerError) as error:
                asked = getattr(error, "retry_after", None) or 0.0
                # The caller waits for the end of a long pause: it may have other work in the meantime.
                if attempt == self._backoff.attempts or asked > self._backoff.longest:
                    raise
            pause = self._backoff.after(attempt)
            await (self._pacer.hold(max(asked, pause)) if asked else self._sleep(pause))
        raise AssertionError("unreachable")

    async def _attempt(self, texts: list[str], dimensions: int | None) -> _Batch:
        async with self._budget.reserve(texts) as charge:
            await self._pacer.turn()
            response = await self._post(texts, charge)
            if response.status_code != httpx.codes.OK:
                raise refusal(response, self._model, self._api_key_name, texts)
            charge.settle(None)
            answer = openai_answer.read(response.content, len(texts), dimensions)
            charge.settle(answer.tokens)
        return _Batch(texts, answer.vectors, charge.tokens, charge.estimated)

    async def _post(self, texts: list[str], charge: Charge) -> httpx.Response:
        key = await self._api_key() if self._api_key else None
        headers = {"User-Agent": USER_AGENT} | ({"Authorization": f"Bearer {key}"} if key else {})
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        try:
            return await self._client.post(self._url, json=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise EmbedderUnavailableError(f"{self._url} cannot be reached: {_reason(error)}") from error
        except httpx.RequestError as error:
            # The server may have processed it, and only the answer was lost: that costs, too.
            charge.settle(None)
            raise EmbedderUnavailableError(f"{self._url} did not answer: {_reason(error)}") from error


def _reason(error: httpx.RequestError) -> str:
    # Time-outs have no message of their own.
    return str(error) or type(error).__name__
