"""What the stories share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.unit.migration.world import World


@pytest.fixture
def made() -> Iterator[Callable[..., World]]:
    """Makes worlds, and closes them."""
    worlds: list[World] = []

    def make(**given: object) -> World:
        worlds.append(World(**given))  # type: ignore[arg-type]
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
