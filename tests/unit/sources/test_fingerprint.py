"""A fingerprint survives rounding and tells encoders apart."""

from __future__ import annotations

import numpy as np
import pytest

from teal.sources.fingerprint import BITS, fingerprint

DIMENSIONS = 384


def random_vector(seed: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)


def turned(one: np.ndarray, other: np.ndarray) -> int:
    """How many bits of their fingerprints differ."""
    first, second = (int(fingerprint(vector).partition("-")[2], 16) for vector in (one, other))
    return (first ^ second).bit_count()


@pytest.mark.parametrize("seed", range(20))
def test_rounding_to_half_precision_turns_two_bits_at_most(seed: int) -> None:
    vector = random_vector(seed)
    rounded = vector.astype(np.float16).astype(np.float32)
    assert turned(vector, rounded) <= 2


@pytest.mark.parametrize("seed", range(20))
def test_another_direction_is_another_encoder(seed: int) -> None:
    assert turned(random_vector(seed), random_vector(seed + 1000)) > BITS // 4


def test_the_length_does_not_matter_but_the_dimension_does() -> None:
    vector = random_vector(1)
    assert fingerprint(vector) == fingerprint(vector * 3)
    assert fingerprint(vector).partition("-")[0] != fingerprint(vector[:128]).partition("-")[0]


def test_it_is_the_same_on_every_machine() -> None:
    """It stands in statuses for years: this value must never change."""
    ramp = np.linspace(-1, 2, 16, dtype=np.float32)
    assert fingerprint(ramp) == "16-b3d4d2e01bdbc27d"
