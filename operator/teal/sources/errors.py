"""The errors between Teal and an embedder.

Each error is of one of the domain's kinds, so the controller needs no table of its own. An embedder that does
not answer is waited for; one that refuses stalls the resource; vectors that cannot be right hold the migration,
while blue keeps serving. No message contains a text or a key.
"""

from __future__ import annotations

from teal.domain.errors import HeldError, TealError, TerminalError, TransientError


class EmbedderError(TealError):
    """Base class of all errors of an embedder."""


class EmbedderUnavailableError(EmbedderError, TransientError):
    """No usable answer after several attempts. `retry_after` (seconds) if the server named it."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        TransientError.__init__(self, "EmbedderUnavailable", message, retry_after)


class EmbedderRefusedError(EmbedderError, TerminalError):
    """The server refused the request: a wrong key, model, URL or request."""

    def __init__(self, message: str) -> None:
        super().__init__("EmbedderRefused", message)


class NonsenseAnswerError(EmbedderError, TerminalError):
    """The server answers again and again with JSON that has no embeddings for the texts."""

    def __init__(self, message: str) -> None:
        super().__init__("EmbedderNonsense", message)


class VectorError(EmbedderError, HeldError):
    """A vector that must not be stored. `index` is the position of its text in the call and identifies the
    point.
    """

    def __init__(self, reason: str, message: str, index: int) -> None:
        HeldError.__init__(self, reason, message)
        self.index = index


class WrongDimensionsError(VectorError):
    """A vector has another size than declared."""

    def __init__(self, index: int, expected: int, got: int) -> None:
        message = (
            f"The embedder answered a vector of {got} dimensions where {expected} are declared. "
            "Correct dimensions or model in the EmbeddingSet."
        )
        super().__init__("WrongDimensions", message, index)
        self.expected = expected
        self.got = got


class BadVectorError(VectorError):
    """A vector is not a list of finite numbers; `problem` describes it."""

    def __init__(self, index: int, problem: str) -> None:
        message = f"The embedder answered a vector {problem}. Look into the embedder's log for this text."
        super().__init__("BadVector", message, index)


class BudgetExceededError(EmbedderError, TerminalError):
    """The next request could use more tokens than allowed, so it was not sent."""

    def __init__(self, spent: int, limit: int) -> None:
        super().__init__(
            "BudgetExceeded",
            f"{spent:,} tokens are spent and the next request could exceed embedder.budget.maxTokens ({limit:,}).",
        )
        self.spent = spent
        self.limit = limit
