"""One alias over REST, and the meaning of each answer to a client.

A client distinguishes five answers: done; retry later (429: the fence stands); another encoder serves now; no
answer, so a write may have been applied or not; and everything else, which is a failure and is never retried.
"""

from __future__ import annotations

from typing import Any

import httpx

from devkit.clients.encoding import Encoder

DIMENSION_REFUSED = "Vector dimension error"
LONGEST_ERROR = 300


class ThrottledError(Exception):
    """429."""


class WrongEncoderError(Exception):
    """The vector has another dimension than the collection behind the alias."""


class NoAnswerError(Exception):
    """The connection failed or timed out: a write may have been applied or not."""


class FailedError(Exception):
    """Any other answer that is not a success; the text says which."""


class Alias:
    """Requests to the collection behind the alias `name`. `client` has Qdrant's URL as its base."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self._client = client
        self._path = f"/collections/{name}"

    async def encoder(self) -> Encoder:
        """Which encoder the alias serves now."""
        return Encoder.of(await self.send("GET", ""))

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The `result` of a request to the collection; raises one of this module's errors."""
        try:
            response = await self._client.request(method, self._path + path, json=body)
        except httpx.TransportError as error:
            raise NoAnswerError(f"{method} {path}: {type(error).__name__} {error}") from error
        if response.status_code == httpx.codes.OK:
            return response.json()["result"]
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise ThrottledError("429")
        if response.status_code == httpx.codes.BAD_REQUEST and DIMENSION_REFUSED in response.text:
            raise WrongEncoderError("refused for its dimension")
        raise FailedError(f"{method} {path}: {response.status_code} {response.text[:LONGEST_ERROR]}")
