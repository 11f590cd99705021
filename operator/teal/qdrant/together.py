"""Several requests in parallel: an error is raised when all have ended, so no request outlives its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def all_of(asked: Iterable[Awaitable[A]]) -> list[A]:
    """All answers, in order. Raises the first error, in that order."""
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    answers: list[A] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers


async def both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """Two answers of different types."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second
