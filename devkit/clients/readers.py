"""A reader: searches through the alias all the time. Its only accepted refusal is that the encoder has changed."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

from devkit.clients.alias import Alias, FailedError, NoAnswerError, ThrottledError, WrongEncoderError
from devkit.clients.counts import Counts
from devkit.clients.encoding import AliasEncoder, EncodingError
from devkit.clients.workload import Workload

# An encoder may change again before a request is sent with the one just learnt; not much oftener than that.
MAX_ENCODERS = 3


class Reader:
    """`step` is one search for a random text's nearest points."""

    def __init__(self, workload: Workload, alias: Alias, encoder: AliasEncoder, counts: Counts, seed: str) -> None:
        self._alias = alias
        self._encoder = encoder
        self._counts = counts
        self._texts = [entry.text for entry in workload.entries]
        self._limit = workload.limit
        self._rng = random.Random(seed)

    async def step(self) -> None:
        """Search once, and count the result."""
        sent = time.time()
        try:
            await self._search(self._rng.choice(self._texts))
        except (NoAnswerError, ThrottledError, WrongEncoderError, FailedError, EncodingError) as error:
            self._counts.failed_reads += 1
            if isinstance(error, NoAnswerError):
                self._counts.unanswered.append((sent, time.time()))
            self._counts.error(f"read: {error}")

    async def _search(self, text: str) -> None:
        vector, encoder = await self._encoder.vector(text)
        started = time.monotonic()
        for attempt in itertools.count(1):
            query = {"query": vector.tolist(), "limit": self._limit, "with_payload": True}
            try:
                result = await self._alias.send("POST", "/points/query", query)
                break
            except WrongEncoderError:
                if attempt == MAX_ENCODERS:
                    raise
                self._counts.reencoded += 1
                self._encoder.refused(encoder)
                vector, encoder = await self._encoder.vector(text)
        self._counts.read((time.monotonic() - started) * 1000)
        self._check(result["points"])

    def _check(self, points: list[dict[str, Any]]) -> None:
        if not points or not all(point.get("payload") for point in points):
            self._counts.empty_reads += 1
            self._counts.error(f"read: {len(points)} points, or one without payload")
