"""Point ids as columns: an id is a key of 17 bytes, so that the ids of a million points are one array.

A key is one byte for the kind of the id (0: a number, 1: a UUID) and 16 bytes, big endian: the number, or the
bytes of the UUID. So the order of the bytes is the order in which Qdrant has its ids, numbers before UUIDs, and two
arrays of keys are compared by sorting and merging, wherever they come from.

Two traps. numpy leaves out the zeros at the end when it gives out one element of such an array: compare elements
with elements, or go through `rows`. And a key is no `RawId`: `of` and `raw_ids` lead from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from teal.qdrant import varints
from teal.qdrant.wire import RawId

WIDTH: Final = 17
KEY: Final = np.dtype(f"S{WIDTH}")
NUMBER, UUID_KIND = 0, 1

Keys = npt.NDArray[np.bytes_]
Rows = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

# A serialized `PointId` is one field: 1, a varint, or 2, the 36 characters of a UUID.
_NUMBER_TAG, _UUID_TAG, _UUID_CHARACTERS = 0x08, 0x12, 36
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


def read(buffer: Rows, starts: Positions, lengths: Positions) -> Keys:
    """The keys of the ids that are serialized in `buffer`, each from its start on.

    Raises:
        UnknownIdError: one of them is no id.
    """
    found = np.zeros((len(starts), WIDTH), np.uint8)
    if len(starts):
        uuids = lengths == len(_UUID_HEAD) + _UUID_CHARACTERS
        found[uuids, 0] = UUID_KIND
        found[uuids, 1:] = _uuid_bytes(buffer, starts[uuids])
        numbers = ~uuids
        found[numbers, WIDTH - 8 :] = _number_bytes(buffer, starts[numbers], lengths[numbers])
    return _keys(found)


def raw_ids(keys: Keys) -> list[RawId]:
    """The serialized ids of these keys, in the same order."""
    return [_raw_number(row) if row[0] == NUMBER else _raw_uuid(row) for row in map(bytes, rows(keys))]


def rows(keys: Keys) -> Rows:
    """The bytes of the keys, one row each."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, WIDTH)


def order(keys: Keys) -> npt.NDArray[np.intp]:
    """The positions of the keys in ascending order."""
    found = rows(keys)
    if found[:, 0].any():
        return np.argsort(keys)
    return np.argsort(_words(found[:, WIDTH - 8 :], ">u8"))


# Slices


def slice_of(keys: Keys, total: int) -> npt.NDArray[np.uint64]:
    """The index of the slice, of `total`, that each point belongs to, as a server from 1.19 on reckons it.

    That is SipHash-2-4 with a key of zeros, over the 8 bytes (little endian) of a number or the 16 of a UUID.
    """
    found = rows(keys)
    uuids = found[:, 0] == UUID_KIND
    hashes = np.empty(len(found), np.uint64)
    hashes[~uuids] = _siphash([_words(found[~uuids, WIDTH - 8 :], ">u8")])
    hashes[uuids] = _siphash([_words(found[uuids, 1:9], "<u8"), _words(found[uuids, 9:], "<u8")])
    return hashes % np.uint64(total)


def _siphash(blocks: Sequence[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """The hash of messages that consist of these words, all messages at once."""
    state = [
        np.full(len(blocks[0]), start, np.uint64)
        for start in (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    ]
    # What is left over of a message of whole words is its length alone, in the highest byte of one more word.
    length = np.full_like(blocks[0], 8 * len(blocks) << 56)
    for block in (*blocks, length):
        state[3] ^= block
        _rounds(state, 2)
        state[0] ^= block
    state[2] ^= np.uint64(0xFF)
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(state: list[npt.NDArray[np.uint64]], count: int) -> None:
    for _ in range(count):
        for into, other, turned in ((0, 1, 13), (2, 3, 16)):
            state[into] += state[other]
            state[other] = _turned(state[other], turned) ^ state[into]
        state[0] = _turned(state[0], 32)
        for into, other, turned in ((0, 3, 21), (2, 1, 17)):
            state[into] += state[other]
            state[other] = _turned(state[other], turned) ^ state[into]
        state[2] = _turned(state[2], 32)


def _turned(words: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint64]:
    """The words rotated to the left."""
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


# Bytes


def _keys(found: Rows) -> Keys:
    return found.reshape(-1).view(KEY)


def _words(found: Rows, kind: str) -> npt.NDArray[np.uint64]:
    """Rows of 8 bytes as numbers."""
    return np.ascontiguousarray(found).view(kind).reshape(-1).astype(np.uint64)


def _uuid_bytes(buffer: Rows, starts: Positions) -> Rows:
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


def _number_bytes(buffer: Rows, starts: Positions, lengths: Positions) -> Rows:
    if (buffer[starts] != _NUMBER_TAG).any():
        raise UnknownIdError("an id that is neither a number nor a UUID of 36 characters")
    numbers, ends = varints.read(buffer, starts + 1)
    if (ends != starts + lengths).any():
        raise UnknownIdError("an id with something behind its number")
    return numbers.astype(">u8").view(np.uint8).reshape(-1, 8)


def _raw_number(row: bytes) -> RawId:
    return bytes((_NUMBER_TAG,)) + varints.write(int.from_bytes(row[1:], "big"))


def _raw_uuid(row: bytes) -> RawId:
    return _UUID_HEAD + str(UUID(bytes=row[1:])).encode()
