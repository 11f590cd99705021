"""An embedding server in a transport: what it answers is scripted, what it was asked is noted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 8

Script = Callable[[list[str]], httpx.Response | Exception | None]


def vector_of(text: str) -> NDArray[np.float32]:
    """The vector that the server has for `text`."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)


def answer(texts: list[str], **changes: Any) -> httpx.Response:
    """The right answer for `texts`, with top-level fields changed."""
    data = [{"index": i, "embedding": vector_of(text).tolist()} for i, text in enumerate(texts)]
    return httpx.Response(200, json={"data": data, "usage": {"total_tokens": len(texts)}} | changes)


class FakeServer(httpx.AsyncBaseTransport):
    """Answers rightly (one token a text), but for the requests for which `script` has something else."""

    def __init__(self, *script: Script | httpx.Response | Exception) -> None:
        self._script = list(script)
        self.asked: list[list[str]] = []
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["input"]
        self.asked.append(texts)
        self.requests.append(request)
        outcome: Any = self._script.pop(0) if self._script else None
        if callable(outcome):
            outcome = outcome(texts)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or answer(texts)

    @property
    def all_texts(self) -> list[str]:
        return [text for texts in self.asked for text in texts]
