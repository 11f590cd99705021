"""An error's kind decides what the controller does; its reason is for machines, its message for people."""

from __future__ import annotations

import pytest

from teal.domain.errors import HeldError, TealError, TerminalError, TransientError, UnknownOutcomeError


@pytest.mark.parametrize("kind", [TransientError, UnknownOutcomeError, TerminalError, HeldError])
def test_every_kind_says_why_and_what(kind: type[TealError]) -> None:
    error = kind("SomeReason", "What to do.")
    assert (error.reason, error.message, str(error)) == ("SomeReason", "What to do.", "What to do.")
    assert isinstance(error, TealError)


def test_the_kinds_exclude_each_other() -> None:
    """Handlers ask for one kind; an error that is of two would be handled by whoever asks first."""
    for kind in (TransientError, TerminalError, HeldError):
        others = {TransientError, TerminalError, HeldError} - {kind}
        assert not issubclass(kind, tuple(others))


def test_an_unknown_outcome_may_pass_by_itself() -> None:
    assert issubclass(UnknownOutcomeError, TransientError)
    assert UnknownOutcomeError("Timeout", "").retry_after is None
    assert TransientError("TooMany", "", retry_after=2.5).retry_after == 2.5


def test_a_held_migration_shows_at_most_ten_points() -> None:
    assert HeldError("TextMissing", "", tuple(map(str, range(30)))).samples == tuple(map(str, range(10)))
