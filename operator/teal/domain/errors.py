"""What can go wrong, in the words of the resource's status.

Every error carries a CamelCase `reason` (stable, for machines) and a message that says what is wrong and what
to do. Its kind decides what the controller does with it:

* `TransientError`: nothing is decided; the same step is retried with backoff, without an end;
* `TerminalError`: a retry cannot help until somebody changes something; the resource is `Stalled`;
* `HeldError`: this migration stops; blue keeps serving until there is a new plan or a `teal.dev/retry`.
"""

from __future__ import annotations


class TealError(Exception):
    """Base of all expected errors; any other exception from a step is a bug and is reported as one."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TransientError(TealError):
    """May pass by itself. `retry_after` (seconds) is set when the server named a time."""

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class UnknownOutcomeError(TransientError):
    """A write was sent and no answer came, so it may or may not have been applied. Read again; assume nothing."""


class TerminalError(TealError):
    """Cannot pass until somebody changes the spec, a Secret or Qdrant."""


class HeldError(TealError):
    """The migration stops until somebody acts; `samples` are ids of points that show why (at most ten)."""

    def __init__(self, reason: str, message: str, samples: tuple[str, ...] = ()) -> None:
        super().__init__(reason, message)
        self.samples = samples[:10]
