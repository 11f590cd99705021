"""What clients experienced, counted while it happens, and written down for the parent process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

MAX_ERRORS = 20


@dataclass
class Counts:
    """Milliseconds are measured by the client: from its first attempt to the answer, with all retries."""

    reads: int = 0
    """Answered searches, including those that were answered after a retry with another encoder."""
    failed_reads: int = 0
    unanswered: list[tuple[float, float]] = field(default_factory=list)
    """Failed reads without any answer, as when a server is down: when each was sent, and when it failed (seconds
    since the epoch).
    """
    empty_reads: int = 0
    """Answers without points, or with a point without payload. They count as failures."""
    writes: Counter[str] = field(default_factory=Counter)
    """Acknowledged writes by kind: insert, upsert, payload, text (payload and vector), vector, delete."""
    failed_writes: int = 0
    throttled: int = 0
    """429 answers to writers; each was sent again."""
    unknown: int = 0
    """Writes whose answer was lost; each was sent again."""
    reencoded: int = 0
    """Requests refused because of their dimension, and repeated with the encoder that the alias then named."""
    longest_read_millis: float = 0.0
    longest_stall_millis: float = 0.0
    """Longest time of a writer from the first attempt of a write to its acknowledgement."""
    errors: Counter[str] = field(default_factory=Counter)
    """The errors of failed reads and writes."""

    @property
    def all_writes(self) -> int:
        """Acknowledged writes."""
        return self.writes.total()

    @property
    def failures(self) -> int:
        """Everything that a client must not experience."""
        return self.failed_reads + self.empty_reads + self.failed_writes

    def read(self, millis: float) -> None:
        self.reads += 1
        self.longest_read_millis = max(self.longest_read_millis, millis)

    def wrote(self, kind: str, millis: float) -> None:
        self.writes[kind] += 1
        self.longest_stall_millis = max(self.longest_stall_millis, millis)

    def error(self, text: str) -> None:
        if text in self.errors or len(self.errors) < MAX_ERRORS:
            self.errors[text] += 1

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        counters = {name: Counter(document[name]) for name in ("writes", "errors")}
        return cls(**{**document, **counters})
