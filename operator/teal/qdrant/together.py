"""Several requests in parallel: an error is raised when all have ended, so no request outlives its connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

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


async def in_flight(requests: AsyncGenerator[Coroutine[Any, Any, A]], most: int) -> AsyncGenerator[A]:
    """The answers in the order of the requests, of which `most` are under way, or answered and not yet taken."""
    running: deque[asyncio.Task[A]] = deque()
    try:
        async with aclosing(requests):
            async for request in requests:
                running.append(asyncio.create_task(request))
                if len(running) >= most:
                    yield await running[0]
                    running.popleft()
        while running:
            yield await running[0]
            running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
