"""Fixtures: plain callers of the server under test, and collections that are gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.client import Grpc, Rest
from tests.plugins.qdrant import Qdrant


@pytest.fixture(scope="session")
def rest(qdrant: Qdrant) -> Iterator[Rest]:
    """REST calls to the server under test."""
    with Rest(qdrant.url, qdrant.api_key) as caller:
        yield caller


@pytest.fixture(scope="session")
def grpc(qdrant: Qdrant) -> Iterator[Grpc]:
    """gRPC calls to the server under test."""
    url = urlsplit(qdrant.url)
    address, key = f"{url.hostname}:{qdrant.grpc_port}", qdrant.api_key
    with Grpc(address, key, tls=url.scheme == "https") as caller:
        yield caller


@pytest.fixture(scope="session")
def server_version(rest: Rest) -> tuple[int, int]:
    """(major, minor) of the server under test."""
    return rest.version()


@pytest.fixture
def new_collection(rest: Rest, prefix: str) -> Callable[..., str]:
    """Create a collection (`vectors` of 4 dimensions, Dot, unless given) and return its name."""
    numbers = count(1)

    def create(**config: Any) -> str:
        name = f"{prefix}{next(numbers)}"
        rest.create(name, **{"vectors": {"size": 4, "distance": "Dot"}, **config})
        return name

    return create


@pytest.fixture
def collection(new_collection: Callable[..., str]) -> str:
    """An empty collection: one unnamed vector, 4 dimensions, Dot."""
    return new_collection()
