"""Point ids as rows of an array: 17 bytes each, of which the order of the bytes is the order of the ids.

A key is one byte for the kind (0: integer, 1: UUID) and 16 bytes, big endian, for the value. So a collection's ids
sort as Qdrant sorts them: integers by their value, then UUIDs by their bytes. Equal ids have equal keys, whatever
spelling a UUID was sent in, and no two different ids share one.

numpy compares rows of text ("S17") fast and without dropping anything, but its conversion of such a row to Python
drops trailing zeros. Therefore `KEY` is a record of three fields, and only this module looks at it as text: select
and join keys by `take` and `joined`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

KEY: Final = np.dtype([("kind", "u1"), ("hi", ">u8"), ("lo", ">u8")])
"""One row of an array of keys. An integer has `hi` 0 and its value in `lo`."""
INTEGER: Final = 0
UUID_KIND: Final = 1

Keys = npt.NDArray[np.void]
Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

RawId = bytes
"""An id as it stands in messages: a serialized `PointId`. Equal exactly when the ids are (`qdrant.raw_keys`)."""

NO_KEYS: Final[Keys] = np.empty(0, KEY)
_TEXT: Final = np.dtype(f"S{KEY.itemsize}")
_HALF: Final = 64
_LOW: Final = (1 << _HALF) - 1


def integer_keys(values: npt.ArrayLike) -> Keys:
    """The keys of unsigned 64-bit numbers, in the given order."""
    numbers = np.asarray(values, np.uint64)
    keys = np.zeros(len(numbers), KEY)
    keys["lo"] = numbers
    return keys


def uuid_keys(raw: bytes | bytearray | memoryview) -> Keys:
    """The keys of UUIDs that stand one after the other, 16 bytes each as in `UUID.bytes`."""
    rows = np.frombuffer(raw, np.uint8).reshape(-1, KEY.itemsize - 1)
    keys = np.empty(len(rows), KEY)
    table = as_bytes(keys)
    table[:, 0] = UUID_KIND
    table[:, 1:] = rows
    return keys


def keys_of(ids: Iterable[int | UUID]) -> Keys:
    """The keys of a few ids, in the given order. For many, `integer_keys` and `uuid_keys` are faster."""
    rows = [(UUID_KIND, i.int >> _HALF, i.int & _LOW) if isinstance(i, UUID) else (INTEGER, 0, i) for i in ids]
    return np.array(rows, KEY)


def ids_of(keys: Keys) -> list[int | UUID]:
    """The ids of a few keys, in their order."""
    return [lo if kind == INTEGER else UUID(int=(hi << _HALF) | lo) for kind, hi, lo in keys.tolist()]


def as_bytes(keys: Keys) -> npt.NDArray[np.uint8]:
    """The same memory as a table of (keys, 17) bytes."""
    return keys.view(np.uint8).reshape(-1, KEY.itemsize)


def halves(keys: Keys) -> tuple[Words, Words]:
    """The high and the low 64 bits, without the kind."""
    return keys["hi"].astype(np.uint64), keys["lo"].astype(np.uint64)


def order(keys: Keys) -> Rows:
    """The rows in ascending order of their keys; equal keys stay in the order in which they came."""
    if len(keys) and (keys["kind"] == keys["kind"][0]).all():
        # Numbers sort several times faster than text, and most often one half alone tells the keys apart.
        hi, lo = halves(keys)
        word = lo if (hi == hi[0]).all() else hi
        rows = np.argsort(word, kind="stable")
        ranked = word[rows]
        if word is lo or (ranked[1:] != ranked[:-1]).all():
            return rows
    return np.argsort(_text(keys), kind="stable")


def merge_order(keys: Keys) -> Rows:
    """`order`, for keys that consist of a few ascending runs: in one go over them."""
    return np.argsort(_text(keys), kind="stable")


def take(keys: Keys, rows: Rows | Mask | slice) -> Keys:
    """`keys[rows]`, several times faster than numpy does it for records."""
    taken: Keys = _text(keys)[rows].view(KEY)
    return taken


def joined(parts: Iterable[Keys]) -> Keys:
    """The keys of all parts one after the other. numpy's own way turns the bytes of the numbers round."""
    whole: Keys = np.concatenate([_text(part) for part in (NO_KEYS, *parts)]).view(KEY)
    return whole


def repeats(keys: Keys) -> Mask:
    """Of sorted keys: which equal the one before."""
    text = _text(keys)
    same = np.zeros(len(keys), np.bool_)
    same[1:] = text[1:] == text[:-1]
    return same


def ascending(keys: Keys) -> bool:
    """Whether each key is greater than the one before, so that none occurs twice."""
    text = _text(keys)
    return bool((text[1:] > text[:-1]).all())


def locate(wanted: Keys, within: Keys) -> tuple[Rows, Mask]:
    """For each of sorted `wanted`: the row of sorted `within` where it belongs, and whether it stands there."""
    if len(wanted) == len(within) and (as_bytes(wanted) == as_bytes(within)).all():
        # Most often nothing was added and nothing deleted, and this is a fraction of a search.
        return np.arange(len(wanted)), np.ones(len(wanted), np.bool_)
    text, sought = _text(within), _text(wanted)
    rows = np.searchsorted(text, sought)
    found = np.zeros(len(wanted), np.bool_)
    inside = rows < len(within)
    found[inside] = text[rows[inside]] == sought[inside]
    return rows, found


def cuts(keys: Keys, at: Keys) -> Rows:
    """Where to cut the sorted `keys` so that each part begins at one of the sorted `at`."""
    return np.searchsorted(_text(keys), _text(at))


def count_up_to(keys: Keys, last: bytes) -> int:
    """How many of the sorted `keys` are not greater than the key with these bytes."""
    return int(np.searchsorted(_text(keys), np.frombuffer(last, _TEXT), side="right")[0])


def key_bytes(keys: Keys, row: int) -> bytes:
    """The 17 bytes of one key, which compare in Python as keys do."""
    return as_bytes(keys[row : row + 1] if row >= 0 else keys[row:][:1]).tobytes()


def _text(keys: Keys) -> npt.NDArray[Any]:
    return keys.view(_TEXT)
