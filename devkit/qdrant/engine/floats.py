"""The shortest decimal of a 32-bit float, many at a time.

Vectors are 32-bit and JSON is decimal: a real server writes 0.40824828 where Python, holding the same number
in 64 bits, would write 0.40824827551841736. Rounding to the fewest digits that read back as the same 32-bit
number gives a 64-bit float whose own shortest decimal is the wanted text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEWEST, _MOST = 6, 9  # decimal digits that any 32-bit float keeps, and that tell any two apart
_EXACT_POWER = 22  # the largest power of ten that a 64-bit float holds exactly


def shortest(values: Iterable[float]) -> list[float]:
    """`values` (32-bit numbers held in 64 bits), each rounded to its shortest decimal."""
    wide = np.fromiter(values, dtype=np.float64)
    narrow = wide.astype(np.float32)
    result = wide.copy()
    todo = np.flatnonzero((wide != 0) & np.isfinite(wide))
    for digits in range(_FEWEST, _MOST + 1):
        if not todo.size:
            break
        rounded = _rounded(wide[todo], digits)
        same = rounded.astype(np.float32) == narrow[todo]
        result[todo[same]] = rounded[same]
        todo = todo[~same]
    answer: list[float] = result.tolist()
    return answer


def _rounded(values: NDArray[Any], digits: int) -> NDArray[Any]:
    """`values` to `digits` significant digits, each the 64-bit float nearest to that decimal."""
    power = digits - 1 - np.floor(np.log10(np.abs(values))).astype(np.int64)
    scale = 10.0 ** np.abs(power)
    up = power >= 0
    scaled = np.rint(np.where(up, values * scale, values / scale))
    rounded = np.where(up, scaled / scale, scaled * scale)
    far = np.abs(power) > _EXACT_POWER
    if far.any():
        rounded[far] = [float(f"{value:.{digits - 1}e}") for value in values[far]]
    result: NDArray[Any] = rounded
    return result
