"""Versions of servers, in whatever form they introduce themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.observed import Version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.19.0", (1, 19, 0)),
        ("1.19.0-dev", (1, 19, 0)),
        ("v1.18.3", (1, 18, 3)),
        ("1.20", (1, 20, 0)),
        ("2", (2, 0, 0)),
        ("1.19.0+build.7", (1, 19, 0)),
        ("1.19.0rc1", (1, 19, 0)),
        ("1.17.1.2", (1, 17, 1)),
        ("", (0, 0, 0)),
        ("unknown", (0, 0, 0)),
    ],
)
def test_parse(text: str, version: tuple[int, int, int]) -> None:
    assert Version.parse(text) == Version(*version)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert Version.parse(text) >= Version(0, 0)


@given(st.builds(Version, *[st.integers(0, 99)] * 3), st.builds(Version, *[st.integers(0, 99)] * 3))
def test_order_and_text(one: Version, other: Version) -> None:
    assert Version.parse(str(one)) == one
    assert (one < other) == ((one.major, one.minor, one.patch) < (other.major, other.minor, other.patch))
