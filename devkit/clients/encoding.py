"""How a client makes vectors for an alias: it asks for the encoder, and uses it until a request is refused.

`GET /collections/<alias>` names the encoder in its metadata. An encoder with a URL is called. One without a URL
is replaced by numbers from a hash of the text, so that tests need no model: the vectors only have to be equal
for equal texts, and different for different ones.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

METADATA_KEY = "teal.dev/encoder"
USER_AGENT = "devkit-clients"


class EncodingError(RuntimeError):
    """The embedder did not make the vectors."""


@dataclass(frozen=True)
class Encoder:
    """What an alias says about its encoder."""

    model: str | None
    schema_version: str | None
    dimensions: int
    url: str | None

    @classmethod
    def of(cls, info: dict[str, Any]) -> Self:
        """From a collection's info (the `result` of `GET /collections/...`), with one unnamed vector."""
        config = info["config"]
        said = (config.get("metadata") or {}).get(METADATA_KEY) or {}
        return cls(
            said.get("model"), said.get("schemaVersion"), config["params"]["vectors"]["size"], said.get("url")
        )

    @property
    def key(self) -> str:
        """Equal for encoders that make equal vectors. The vectors of a stand-in depend only on the dimensions."""
        return f"{self.model}@{self.schema_version}/{self.dimensions}" if self.url else f"hash/{self.dimensions}"


Encode = Callable[[Encoder, Sequence[str]], Awaitable[Floats]]


class Embedding:
    """Calls the encoder's URL, or hashes if there is none. An `Encode`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(self, encoder: Encoder, texts: Sequence[str]) -> Floats:
        if encoder.url is None:
            return hashed(encoder, texts)
        try:
            return _vectors(await self._client.post(**_request(encoder, texts)), encoder)
        except httpx.TransportError as error:
            raise EncodingError(f"embedder: {type(error).__name__}") from error


def embed(client: httpx.Client, encoder: Encoder, texts: Sequence[str]) -> Floats:
    """As `Embedding`, for callers without an event loop; raises `EncodingError` or httpx's errors."""
    return _vectors(client.post(**_request(encoder, texts)), encoder) if encoder.url else hashed(encoder, texts)


def hashed(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Stand-in vectors of shape (len(texts), dimensions), of various lengths."""
    return np.stack([_hashed(text, encoder.dimensions) for text in texts])


class AliasEncoder:
    """The encoder of an alias as the clients of one process know it, with a cache of recent vectors."""

    def __init__(self, ask: Callable[[], Awaitable[Encoder]], encode: Encode) -> None:
        self._ask = ask
        self._encode = encode
        self._encoder: Encoder | None = None
        self._asking = asyncio.Lock()
        self._made: dict[tuple[str, str], Floats] = {}

    async def vector(self, text: str) -> tuple[Floats, Encoder]:
        """The vector of `text` by the encoder that the alias named when it was last asked."""
        encoder = await self._current()
        key = (encoder.key, text)
        vector = self._made.get(key)
        if vector is None:
            vector = self._made[key] = (await self._encode(encoder, [text]))[0]
        return vector, encoder

    def refused(self, encoder: Encoder) -> None:
        """The alias refused a vector of `encoder`: ask it again, unless another client has already done so."""
        if self._encoder is encoder:
            self._encoder = None
            self._made.clear()

    async def _current(self) -> Encoder:
        async with self._asking:
            if self._encoder is None:
                self._encoder = await self._ask()
            return self._encoder


def _hashed(text: str, dimensions: int) -> Floats:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))
    vector = rng.standard_normal(dimensions, dtype=np.float32)
    return vector * np.float32(rng.uniform(0.5, 2) / np.linalg.norm(vector))


def _request(encoder: Encoder, texts: Sequence[str]) -> dict[str, Any]:
    return {
        "url": f"{encoder.url}/embeddings",
        "json": {"model": encoder.model, "input": list(texts)},
        "headers": {"User-Agent": USER_AGENT},
    }


def _vectors(response: httpx.Response, encoder: Encoder) -> Floats:
    if response.status_code != httpx.codes.OK:
        raise EncodingError(f"embedder: {response.status_code} {response.text[:200]}")
    data = sorted(response.json()["data"], key=lambda item: item["index"])
    vectors = np.array([item["embedding"] for item in data], np.float32)
    if vectors.shape[1] != encoder.dimensions:
        raise EncodingError(
            f"{encoder.model} makes {vectors.shape[1]} dimensions, the alias has {encoder.dimensions}"
        )
    return vectors
