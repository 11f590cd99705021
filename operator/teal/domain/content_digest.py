"""Eight bytes that stand for everything that a point holds.

Two contents are compared by their digests when both revisions are kept in step, and when versions mean nothing.
Always two contents *of the same point* are compared, so there is no birthday paradox: one comparison of different
contents calls them equal with a probability of 2⁻⁶⁴. A collection of 10⁷ points that all change a thousand times
makes 10¹⁰ comparisons, and the chance that one of them is wrong is 5·10⁻¹⁰, far below that of a broken disk that
nobody notices. BLAKE2b is used because it is the fastest hash of the standard library that nobody can aim at.

Digests are of bytes: a vector that differs in its last bit is another content. So what is digested for a point
that Teal writes has to be what the collection will answer for it, and a collection does not store every vector
as it was sent: Cosine normalises, Float16 and Uint8 round. `as_stored` does the same *before* the write. Qdrant
leaves alone what has the length 1 already and what can be stored exactly, so it answers with the very same
bytes. (Its own normalisation cannot be repeated bit by bit: the order in which it sums depends on the
processor.) Whoever writes decides by the schema of the *target*, digests the result, and notes that digest for
the target; what is noted for the source is the digest of what was read there.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from teal.domain.columns import NO_DIGEST
from teal.domain.schema import Datatype, Distance

Floats = npt.NDArray[np.float32]
DIGEST_BYTES: Final = 8
NORMALISED: Final = 5e-7
"""How far a squared length may be from 1 to be left alone: half of what Qdrant allows, so that both agree."""


def content_digest(
    payload: bytes, dense: Mapping[str, Floats | None], sparse: Mapping[str, Mapping[int, float] | None]
) -> int:
    """A digest of a whole point, never `NO_DIGEST`.

    `payload` is canonical, or a digest of it that is (`wire.canonical_payload`); `dense` and `sparse` are its
    vectors by name as `wire.read_dense` and `wire.read_sparse` answer them, absent ones `None` or left out.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in (payload, *_dense_parts(dense), *_sparse_parts(sparse)):
        digest.update(struct.pack("<Q", len(part)))
        digest.update(part)
    return int.from_bytes(digest.digest(), "big") or NO_DIGEST + 1


def _dense_parts(vectors: Mapping[str, Floats | None]) -> Iterator[bytes]:
    for name, vector in sorted(vectors.items()):
        if vector is not None:
            yield b"dense " + name.encode()
            yield struct.pack(f"<{vector.ndim}Q", *vector.shape)
            yield vector.astype("<f4", copy=False).tobytes()


def _sparse_parts(vectors: Mapping[str, Mapping[int, float] | None]) -> Iterator[bytes]:
    for name, vector in sorted(vectors.items()):
        if vector is not None:
            yield b"sparse " + name.encode()
            pairs = sorted(vector.items())
            yield np.array([index for index, _ in pairs], "<u4").tobytes()
            yield np.array([value for _, value in pairs], "<f4").tobytes()


def as_stored(vector: Floats, distance: Distance, datatype: Datatype) -> Floats:
    """What a collection of this distance and datatype answers after this vector was written to it.

    To be written in place of `vector`, which then comes back unchanged. `vector` has one row or, for a
    multivector, several. With Cosine and Float16 the last bit of an element may still differ once in a great
    many vectors, because a rounded vector has not quite the length 1; a comparison of the contents themselves
    then decides.
    """
    if datatype is Datatype.UINT8:
        return np.clip(np.nan_to_num(vector), 0, 255).astype(np.uint8).astype(np.float32)
    stored = _normalised(vector) if distance is Distance.COSINE else vector
    return stored.astype(np.float16).astype(np.float32) if datatype is Datatype.FLOAT16 else stored


def _normalised(vector: Floats) -> Floats:
    squared = np.sum(vector.astype(np.float64) ** 2, axis=-1, keepdims=True)
    kept = (np.abs(squared - 1) <= NORMALISED) | (squared < np.finfo(np.float32).eps)
    return np.where(kept, vector, vector / np.sqrt(np.where(kept, 1, squared))).astype(np.float32)
