"""Point ids as columns: an id is a key of 17 bytes, so that the ids of a million points are one array.

A key is one byte for the kind of the id (0: a number, 1: a UUID) and 16 bytes, big endian: the number, or the
bytes of the UUID. So the order of the bytes is that in which Qdrant has its ids, numbers before UUIDs, and two
arrays of keys are compared by sorting and merging, wherever they come from. A key is no `RawId`: `of` and
`raw_ids` lead from one to the other.

numpy sorts, compares and selects text of 17 bytes fast, and records slowly; but of text it leaves out the zeros at
the end when it gives out one element. So `KEY` is a record, and only `order`, `take`, `joined` and `repeats` look
at it as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from teal.qdrant import varints
from teal.qdrant.wire import RawId

KEY: Final = np.dtype([("kind", "u1"), ("hi", ">u8"), ("lo", ">u8")])
"""One row of an array of keys. A number has `hi` 0 and its value in `lo`."""
WIDTH: Final = KEY.itemsize
NUMBER, UUID_KIND = 0, 1
_TEXT: Final = np.dtype(f"S{WIDTH}")

Keys = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

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
    return [_raw_number(row) if row[0] == NUMBER else _raw_uuid(row) for row in map(bytes, as_bytes(keys))]


# Arrays of keys


def as_bytes(keys: Keys) -> Bytes:
    """The same memory as a table of (keys, 17) bytes."""
    return keys.view(np.uint8).reshape(-1, WIDTH)


def order(keys: Keys) -> Rows:
    """The rows in ascending order of their keys."""
    if keys["kind"].any():
        return np.argsort(_text(keys))
    return np.argsort(keys["lo"].astype(np.uint64))


def take(keys: Keys, rows: Rows | Mask | slice) -> Keys:
    """`keys[rows]`."""
    taken: Keys = _text(keys)[rows].view(KEY)
    return taken


def joined(parts: Iterable[Keys]) -> Keys:
    """The keys of all parts one after the other."""
    whole: Keys = np.concatenate([np.empty(0, _TEXT), *map(_text, parts)]).view(KEY)
    return whole


def repeats(keys: Keys) -> Mask:
    """Of sorted keys: which equal the one before."""
    text = _text(keys)
    same = np.zeros(len(keys), np.bool_)
    same[1:] = text[1:] == text[:-1]
    return same


def _text(keys: Keys) -> npt.NDArray[Any]:
    return keys.view(_TEXT)


# Slices


def slice_of(keys: Keys, total: int) -> npt.NDArray[np.uint64]:
    """The index of the slice, of `total`, that each point belongs to, as a server from 1.19 on reckons it.

    That is SipHash-2-4 with a key of zeros, over the 8 bytes (little endian) of a number or the 16 of a UUID.
    """
    uuids = keys["kind"] == UUID_KIND
    numbers, halves = take(keys, ~uuids), as_bytes(take(keys, uuids))
    hashes = np.empty(len(keys), np.uint64)
    hashes[~uuids] = _siphash([numbers["lo"].astype(np.uint64)])
    hashes[uuids] = _siphash([_words(halves[:, 1:9]), _words(halves[:, 9:])])
    return hashes % np.uint64(total)


def _words(found: Bytes) -> npt.NDArray[np.uint64]:
    """Rows of 8 bytes as numbers, little endian."""
    return np.ascontiguousarray(found).view("<u8").reshape(-1).astype(np.uint64)


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
