"""Lets a test choose its event loop: with `SwiftLoop` nobody waits, and "nothing happens for an hour" is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "loop(factory=...): makes the event loop that the test runs in")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    chosen = item.get_closest_marker("loop")
    return {"loop": chosen.kwargs["factory"] if chosen else asyncio.new_event_loop}
