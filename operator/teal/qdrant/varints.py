"""Protobuf's varints, many at once: numbers in groups of seven bits, the lowest group first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LONGEST = 10  # bytes of a 64-bit number


def read(
    buffer: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The numbers that begin at `starts`, and where each of them ends.

    Raises:
        ValueError: one of them has no end within the buffer, or within 64 bits.
    """
    numbers = np.zeros(len(starts), np.uint64)
    ends = np.zeros(len(starts), np.int64)
    left = np.arange(len(starts))
    for group in range(LONGEST):
        at = starts[left] + group
        if (at >= len(buffer)).any():
            break
        byte = buffer[at]
        numbers[left] |= (byte & 0x7F).astype(np.uint64) << np.uint64(7 * group)
        last = byte < 0x80
        ends[left[last]] = at[last] + 1
        left = left[~last]
        if not len(left):
            return numbers, ends
    if not len(starts):
        return numbers, ends
    raise ValueError("a number that does not end")


def write(number: int) -> bytes:
    """One number."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
