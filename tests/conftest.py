"""Fixtures that tests of several folders share."""

from __future__ import annotations

from importlib.util import find_spec

pytest_plugins = [
    name for name in ("tests.plugins.control_plane", "tests.plugins.qdrant") if find_spec(name) is not None
]
