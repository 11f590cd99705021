"""A writer: changes its own points through the alias all the time, and notes the acknowledged writes.

After a 429, a new encoder or a lost answer it sends the same write again until it is acknowledged. Every other
answer is a failure, and the state of the point is then unknown.
"""

from __future__ import annotations

import asyncio
import random
import time

from devkit.clients.alias import Alias, FailedError, NoAnswerError, ThrottledError, WrongEncoderError
from devkit.clients.counts import Counts
from devkit.clients.encoding import AliasEncoder, Encoder, EncodingError
from devkit.clients.ledger import Ledger
from devkit.clients.operations import Operation, Operations
from devkit.clients.workload import Workload

# The 429 says "retry after 60 s", but a fence lasts about a second: a client that retries sooner waits less.
PAUSE = 0.05


class Writer:
    """`step` is one write, tried until it is acknowledged or has failed."""

    def __init__(
        self, number: int, ledger: Ledger, workload: Workload, alias: Alias, encoder: AliasEncoder, counts: Counts
    ) -> None:
        rng = random.Random(f"writer {number} {workload.seed} {len(ledger.points)}")
        self._operations = Operations(number, workload.writers, ledger, workload.entries, rng)
        self._ledger = ledger
        self._alias = alias
        self._encoder = encoder
        self._counts = counts
        self._patience = workload.patience

    async def step(self) -> None:
        """Write once; note and count the result."""
        operation = self._operations.draw()
        try:
            await self._until_acknowledged(operation)
        except (FailedError, EncodingError, TimeoutError) as error:
            self._ledger.doubt(operation.point)
            self._counts.failed_writes += 1
            self._counts.error(f"{operation.kind}: {error}")

    async def _until_acknowledged(self, operation: Operation) -> None:
        begun = time.monotonic()
        sent: float | None = None
        encoder: Encoder | None = None
        while time.monotonic() - begun < self._patience:
            try:
                vector: list[float] = []
                if operation.text is not None:
                    made, encoder = await self._encoder.vector(operation.text)
                    vector = made.tolist()
                # How long the embedder took is not Qdrant's: the stall is counted from the first request on.
                sent = sent or time.monotonic()
                for request in operation.requests(vector):
                    await self._alias.send(*request)
            except WrongEncoderError:
                if encoder is None:
                    raise FailedError("refused for its dimension, though it carried no vector") from None
                self._counts.reencoded += 1
                self._encoder.refused(encoder)
            except ThrottledError:
                self._counts.throttled += 1
                await asyncio.sleep(PAUSE)
            except NoAnswerError:
                self._counts.unknown += 1
                await asyncio.sleep(PAUSE)
            else:
                operation.acknowledged(encoder.key if encoder else "")
                self._counts.wrote(operation.kind, (time.monotonic() - sent) * 1000)
                return
        raise TimeoutError(f"not acknowledged after {self._patience:g} s")
