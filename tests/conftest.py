"""Fixtures that tests of several folders share."""

pytest_plugins = ["tests.plugins.control_plane", "tests.plugins.qdrant", "tests.plugins.operator"]
