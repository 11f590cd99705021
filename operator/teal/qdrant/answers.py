"""The answer to a scored query as two columns, the ids and the versions, without an object for each point.

A point of such an answer is its id, its score and its version, one after the other. Where each point begins is
found one by one, all else for all points at once. An answer that is laid out otherwise is read the slow way, by
protobuf itself, so what a newer server adds costs time and nothing else.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from teal.domain.columns import Versions
from teal.domain.keys import NO_KEYS, Keys
from teal.qdrant import raw_keys, varints, wire

Positions = npt.NDArray[np.int64]

_RESULT: Final = 0x0A  # the tags of `QueryResponse.result`, `ScoredPoint.id`, `.score` and `.version`
_ID, _SCORE, _VERSION = 0x0A, 0x1D, 0x28
_SCORE_BYTES = 5  # with its tag


class _OtherLayoutError(Exception):
    """The points do not look as they are expected to."""


def read_versions(answer: bytes) -> tuple[Keys, Versions]:
    """Ids and versions of the points in a serialized `QueryResponse`, in the order of the answer.

    Raises:
        UnknownIdError: a point's id is neither a number nor a UUID.
        google.protobuf.message.DecodeError: it is no `QueryResponse`.
    """
    try:
        return _read_columns(answer)
    except (_OtherLayoutError, IndexError, ValueError):
        return _read_slowly(answer)


def _read_slowly(answer: bytes) -> tuple[Keys, Versions]:
    points = wire.QueryResponse.FromString(answer).result
    versions = np.fromiter((point.version for point in points), np.int64, len(points))
    return raw_keys.of([point.id for point in points]), versions


def _read_columns(answer: bytes) -> tuple[Keys, Versions]:
    starts, ends = _points(answer)
    buffer = np.frombuffer(answer, np.uint8)
    if not len(starts):
        return NO_KEYS, np.zeros(0, np.int64)
    _expect(buffer[starts] == _ID)
    lengths = buffer[starts + 1].astype(np.int64)
    scores = starts + 2 + lengths
    _expect(scores + _SCORE_BYTES <= ends)
    _expect(buffer[scores] == _SCORE)
    found = raw_keys.read(buffer, starts + 2, lengths)
    return found, _versions(buffer, scores + _SCORE_BYTES, ends)


def _versions(buffer: npt.NDArray[np.uint8], starts: Positions, ends: Positions) -> Versions:
    """The versions: the field that follows, or 0 for a point that ends without it."""
    told = np.flatnonzero(starts < ends)
    _expect(buffer[starts[told]] == _VERSION)
    numbers, after = varints.read(buffer, starts[told] + 1)
    _expect(after <= ends[told])
    versions = np.zeros(len(starts), np.int64)
    versions[told] = numbers.astype(np.int64)
    return versions


def _points(answer: bytes) -> tuple[Positions, Positions]:
    """Where the points of the answer begin and end: all of them, which come before anything else."""
    starts: list[int] = []
    position, end = 0, len(answer)
    while position < end and answer[position] == _RESULT:
        starts.append(position + 2)
        position += 2 + answer[position + 1]
    begin = np.array(starts, np.int64)
    lengths = np.frombuffer(answer, np.uint8)[begin - 1].astype(np.int64)
    _expect(lengths < 0x80)
    if position > end or wire.QueryResponse.FromString(answer[position:]).result:
        raise _OtherLayoutError
    return begin, begin + lengths


def _expect(holds: npt.NDArray[np.bool_]) -> None:
    if not holds.all():
        raise _OtherLayoutError
