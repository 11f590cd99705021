"""A percentile is a value that was measured."""

from __future__ import annotations

import pytest

from teal.domain.percentile import percentile


def test_percentiles_are_values_that_occurred() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.8, 0.95, 1.0)] == [1.0, 3.0, 4.0, 5.0, 5.0]


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
