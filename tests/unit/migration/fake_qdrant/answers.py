"""What a client is told."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tests.unit.migration.fake_qdrant.replica import Operation


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """An answer that is not a success, with its HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail


class Down(Exception):  # noqa: N818
    """Nobody answers there."""


@dataclass(frozen=True)
class Write:
    """A request that was taken: acknowledged when all of its operations are."""

    operations: tuple[Operation, ...]
    timeout: float = math.inf
    """Seconds after which the server answers `wait_timeout`; the operations go on."""

    @property
    def acknowledged(self) -> bool:
        return all(operation.acknowledged for operation in self.operations)


@dataclass(frozen=True)
class Admitted:
    """What the limits said to a request when it came: by shard, the peers whose replicas refuse it.

    With `acknowledges` false the others are fewer than the collection's `write_consistency_factor`: what they took
    stays with them, and the client is told 429.
    """

    refusing: Mapping[int, Collection[int]]
    acknowledges: bool = True
