"""What can go wrong, in the words of the resource's status.

Every error carries a CamelCase `reason` (stable, for machines) and a message that says what is wrong and what
to do. Its kind decides what the controller does with it:

* `TransientError`: nothing is decided; the same step is tried again with backoff, for ever;
* `TerminalError`: trying again cannot help until somebody changes something; the resource is `Stalled`;
* `HeldError`: this migration must not go on; blue keeps serving until a new plan or `teal.dev/retry`.
"""

from __future__ import annotations


class TealError(Exception):
    """Base of all expected errors; anything else that escapes a step is a bug and is shown as one."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TransientError(TealError):
    """May pass by itself. `retry_after` (seconds) is set when the other side named a time."""

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class UnknownOutcomeError(TransientError):
    """A write was sent and no answer came: it may or may not have been applied. Look again, assume nothing."""


class TerminalError(TealError):
    """Cannot pass until the spec, a Secret or Qdrant is changed by somebody."""


class HeldError(TealError):
    """The migration stops here for good; `samples` are ids of points that show why (at most ten)."""

    def __init__(self, reason: str, message: str, samples: tuple[str, ...] = ()) -> None:
        super().__init__(reason, message)
        self.samples = samples[:10]
