"""The shortest decimal of a 32-bit float, for many floats at a time.

Vectors are 32-bit and JSON is decimal: a real server writes 0.40824828, but Python, with the same number in 64
bits, would write 0.40824827551841736. Rounding to the fewest digits that read back as the same 32-bit number
gives a 64-bit float whose own shortest decimal is the right text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = range(6, 10)  # decimal digits: any 32-bit float keeps the fewest, the most tell any two apart
_EXACT = 22  # the largest power of ten that a 64-bit float holds exactly
_POWERS = 10.0 ** np.arange(_EXACT + 1)


def shortest(values: Iterable[float]) -> list[float]:
    """`values` (32-bit numbers held in 64 bits), each rounded to its shortest decimal."""
    result = np.fromiter(values, dtype=np.float64)
    todo = np.flatnonzero((result != 0) & np.isfinite(result))
    exponents = np.floor(np.log10(np.abs(result[todo]))).astype(np.int64)
    for digits in _DIGITS:
        if not todo.size:
            break
        wanted = result[todo]
        rounded = _rounded(wanted, digits - 1 - exponents)
        missed = rounded.astype(np.float32) != wanted
        result[todo] = np.where(missed, wanted, rounded)
        todo, exponents = todo[missed], exponents[missed]
    answer: list[float] = result.tolist()
    return answer


def _rounded(values: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """`values` to so many decimal `places` (negative: tens, hundreds), each the 64-bit float nearest to that."""
    scale = _POWERS[np.clip(places, 0, _EXACT)]
    rounded: NDArray[Any] = np.rint(values * scale) / scale
    # Exact factors make the quotient the nearest; where there is none, Python's own rounding has to do.
    for far in np.flatnonzero((places < 0) | (places > _EXACT)):
        rounded[far] = round(float(values[far]), int(places[far]))
    return rounded
