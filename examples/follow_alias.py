"""A client that follows an alias to another encoder: it asks for the encoder, and uses it until a request is
refused.

A search that is refused because of its dimension was made with an old encoder: ask again, embed again. A write
is checked afterwards: if the alias serves another encoder by then, the point may have the wrong vector, even if
both encoders have the same dimension, and is written once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.models import PointStruct, ScoredPoint

Encoder = Mapping[str, Any]
"""`model`, `schemaVersion`, `dimensions`, and the embedder's `url` where the EmbeddingSet names one."""
Embed = Callable[[Encoder, str], Sequence[float]]

RETRY_SECONDS = 1.0


class FollowAlias:
    """Searches and writes through `alias`; `embed` makes the vectors with the encoder that it is given."""

    def __init__(
        self,
        client: QdrantClient,
        alias: str,
        embed: Embed,
        *,
        attempts: int = 100,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._alias = alias
        self._embed = embed
        self._attempts = attempts
        self._pause = pause
        self._known: Encoder | None = None

    def search(self, text: str, limit: int = 10) -> list[ScoredPoint]:
        """The points nearest to `text`. After a cut-over to an encoder of the same dimension, wrong instead of
        refused.
        """
        for _ in range(self._attempts):
            vector = list(self._embed(self._known or self._ask(), text))
            try:
                return self._client.query_points(self._alias, query=vector, limit=limit).points
            except UnexpectedResponse as error:
                self._refused(error)
        raise TimeoutError(f"{self._alias}: no encoder was accepted")

    def write(self, point: int | str, text: str, payload: Mapping[str, Any]) -> None:
        """Store a point; returns when it is stored with a vector of the encoder that the alias serves."""
        for _ in range(self._attempts):
            encoder = self._known or self._ask()
            stored = PointStruct(id=point, vector=list(self._embed(encoder, text)), payload=dict(payload))
            try:
                self._client.upsert(self._alias, [stored], wait=True)
            except ResourceExhaustedResponse:  # says to wait for 60 s, but Teal's fence is short
                self._pause(RETRY_SECONDS)
            except UnexpectedResponse as error:
                self._refused(error)
            else:
                if self._ask() == encoder:
                    return
        raise TimeoutError(f"{self._alias}: the point {point} was not accepted")

    def _ask(self) -> Encoder:
        metadata = self._client.get_collection(self._alias).config.metadata or {}
        self._known = metadata["teal.dev/encoder"]
        return self._known

    def _refused(self, error: UnexpectedResponse) -> None:
        if error.status_code != 400 or b"Vector dimension error" not in error.content:
            raise error
        self._known = None
