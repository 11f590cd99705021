"""Fixtures: plain callers of the server under test, and collections that are gone afterwards.

Making and dropping a collection is the dearest call of all, so tests that only read and write points share one
a module, emptied before each test. Whoever changes a collection itself asks for `new_collection`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    with Grpc(f"{url.hostname}:{qdrant.grpc_port}", qdrant.api_key, tls=url.scheme == "https") as caller:
        yield caller


@pytest.fixture(scope="session")
def server_version(rest: Rest) -> tuple[int, int]:
    """(major, minor) of the server under test."""
    return rest.version()


@contextmanager
def _collections(rest: Rest) -> Iterator[Callable[..., str]]:
    names: list[str] = []

    def create(**config: Any) -> str:
        name = f"conformance-{secrets.token_hex(4)}"
        rest.create(name, **{"vectors": {"size": 4, "distance": "Dot"}, **config})
        names.append(name)
        return name

    yield create
    for name in names:
        rest.drop(name)


@pytest.fixture
def new_collection(rest: Rest) -> Iterator[Callable[..., str]]:
    """Create a collection (`vectors` of 4 dimensions, Dot, unless given) for one test, and return its name."""
    with _collections(rest) as create:
        yield create


@pytest.fixture(scope="module")
def new_shared_collection(rest: Rest) -> Iterator[Callable[..., str]]:
    """The same, for the tests of one module."""
    with _collections(rest) as create:
        yield create


@pytest.fixture(scope="module")
def _shared(new_shared_collection: Callable[..., str]) -> str:
    return new_shared_collection()


@pytest.fixture
def collection(rest: Rest, _shared: str) -> str:
    """A collection without points and indexes: one unnamed vector, 4 dimensions, Dot. Leave its settings alone."""
    rest.empty(_shared)
    return _shared
