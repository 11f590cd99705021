"""Point ids on the wire as keys of the domain (`domain.keys`), and back, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from teal.domain.keys import INTEGER, KEY, UUID_KIND, Keys, as_bytes
from teal.qdrant import varints
from teal.qdrant.wire import RawId

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

# A serialized `PointId` is one field: 1, a varint, or 2, the 36 characters of a UUID.
_NUMBER_TAG, _UUID_TAG, _UUID_CHARACTERS = 0x08, 0x12, 36
_SHORTEST = 2
_UUID_HEAD: Final = bytes((_UUID_TAG, _UUID_CHARACTERS))
_HIGH_DIGITS: Final = (0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34)  # the low ones follow them
_BAD = 0xFF
_NIBBLES: Final = np.full(256, _BAD, np.uint8)
_NIBBLES[list(b"0123456789")] = range(10)
_NIBBLES[list(b"abcdef")] = range(10, 16)
_NIBBLES[list(b"ABCDEF")] = range(10, 16)


class UnknownIdError(ValueError):
    """Bytes that are neither a number nor a UUID as Qdrant writes them."""


def of(raws: Sequence[RawId]) -> Keys:
    """The keys of these ids, in the same order.

    Raises:
        UnknownIdError: one of them is no id.
    """
    lengths = np.fromiter(map(len, raws), np.int64, len(raws))
    ends = np.cumsum(lengths)
    return read(np.frombuffer(b"".join(raws), np.uint8), ends - lengths, lengths)


def read(buffer: Bytes, starts: Positions, lengths: Positions) -> Keys:
    """The keys of the ids that are serialized in `buffer`, each from its start on.

    Raises:
        UnknownIdError: one of them is no id.
    """
    if (lengths < _SHORTEST).any():
        raise UnknownIdError("an id of no bytes")
    found = np.zeros(len(starts), KEY)
    if len(starts):
        table = as_bytes(found)
        uuids = lengths == len(_UUID_HEAD) + _UUID_CHARACTERS
        table[uuids, 0] = UUID_KIND
        table[uuids, 1:] = _uuid_bytes(buffer, starts[uuids])
        found["lo"][~uuids] = _numbers(buffer, starts[~uuids], lengths[~uuids])
    return found


def raw_ids(keys: Keys) -> list[RawId]:
    """The serialized ids of these keys, in the same order."""
    return [raw_id(row) for row in map(bytes, as_bytes(keys))]


def raw_id(key: bytes) -> RawId:
    """The serialized id of one key of 17 bytes."""
    return _raw_number(key) if key[0] == INTEGER else _raw_uuid(key)


def _uuid_bytes(buffer: Bytes, starts: Positions) -> Bytes:
    if (buffer[starts] != _UUID_TAG).any() or (buffer[starts + 1] != _UUID_CHARACTERS).any():
        raise UnknownIdError("an id of 38 bytes that is no UUID")
    found = np.empty((len(starts), len(_HIGH_DIGITS)), np.uint8)
    bad = np.zeros(len(starts), np.bool_)
    for column, digit in enumerate(_HIGH_DIGITS):
        at = starts + (len(_UUID_HEAD) + digit)
        high, low = _NIBBLES[buffer[at]], _NIBBLES[buffer[at + 1]]
        bad |= (high == _BAD) | (low == _BAD)
        found[:, column] = high << 4 | low
    if bad.any():
        raise UnknownIdError("a UUID that is not written in hexadecimal digits")
    return found


def _numbers(buffer: Bytes, starts: Positions, lengths: Positions) -> npt.NDArray[np.uint64]:
    if (buffer[starts] != _NUMBER_TAG).any():
        raise UnknownIdError("an id that is neither a number nor a UUID of 36 characters")
    numbers, ends = varints.read(buffer, starts + 1)
    if (ends != starts + lengths).any():
        raise UnknownIdError("an id with something behind its number")
    return numbers


def _raw_number(row: bytes) -> RawId:
    return bytes((_NUMBER_TAG,)) + varints.write(int.from_bytes(row[1:], "big"))


def _raw_uuid(row: bytes) -> RawId:
    return _UUID_HEAD + str(UUID(bytes=row[1:])).encode()
