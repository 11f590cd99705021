"""A fingerprint survives rounding and tells encoders apart."""

from __future__ import annotations

import numpy as np
import pytest

from teal.sources.fingerprint import fingerprint, same_encoder

DIMENSIONS = 384


def random_vector(seed: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_to_half_precision_is_the_same_encoder(seed: int) -> None:
    vector = random_vector(seed)
    rounded = vector.astype(np.float16).astype(np.float32)
    assert same_encoder(fingerprint(vector), fingerprint(rounded))


@pytest.mark.parametrize("seed", range(20))
def test_another_direction_is_another_encoder(seed: int) -> None:
    assert not same_encoder(fingerprint(random_vector(seed)), fingerprint(random_vector(seed + 1000)))


def test_the_length_does_not_matter_but_the_dimension_does() -> None:
    vector = random_vector(1)
    assert fingerprint(vector) == fingerprint(vector * 3)
    assert not same_encoder(fingerprint(vector), fingerprint(vector[:128]))


def test_it_is_the_same_on_every_machine() -> None:
    """It stands in statuses for years: this value must never change."""
    ramp = np.linspace(-1, 2, 16, dtype=np.float32)
    assert fingerprint(ramp) == "16-b3d4d2e01bdbc27d"
