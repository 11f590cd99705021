"""Which slice of a collection a point belongs to: a hash of its id, the same on every server from 1.19 on.

Slices nest: the points of slice `i` of `n` are those of the slices `i`, `i + n`, `i + 2n`, … of a multiple of `n`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from teal.domain.keys import UUID_KIND, Keys, Words, as_bytes, take


def slice_of(keys: Keys, total: int) -> Words:
    """The index of the slice, of `total`, that each point belongs to, as a server from 1.19 on reckons it.

    That is SipHash-2-4 with a key of zeros, over the 8 bytes (little endian) of a number or the 16 of a UUID.
    """
    uuids = keys["kind"] == UUID_KIND
    numbers, halves = take(keys, ~uuids), as_bytes(take(keys, uuids))
    hashes = np.empty(len(keys), np.uint64)
    hashes[~uuids] = _siphash([numbers["lo"].astype(np.uint64)])
    hashes[uuids] = _siphash([_words(halves[:, 1:9]), _words(halves[:, 9:])])
    return hashes % np.uint64(total)


def _words(found: npt.NDArray[np.uint8]) -> Words:
    """Rows of 8 bytes as numbers, little endian."""
    return np.ascontiguousarray(found).view("<u8").reshape(-1).astype(np.uint64)


def _siphash(blocks: Sequence[Words]) -> Words:
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


def _rounds(state: list[Words], count: int) -> None:
    for _ in range(count):
        for into, other, turned in ((0, 1, 13), (2, 3, 16)):
            state[into] += state[other]
            state[other] = _turned(state[other], turned) ^ state[into]
        state[0] = _turned(state[0], 32)
        for into, other, turned in ((0, 3, 21), (2, 1, 17)):
            state[into] += state[other]
            state[other] = _turned(state[other], turned) ^ state[into]
        state[2] = _turned(state[2], 32)


def _turned(words: Words, bits: int) -> Words:
    """The words rotated to the left."""
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
