"""Frames between the front and a worker: a small JSON header and a body that is not decoded on the way.

Each request gets exactly one frame as its answer, and answers come in the order of the requests, so frames need
no number.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from pydantic_core import from_json, to_json

Header = dict[str, Any]
_LENGTHS = struct.Struct("<II")


def pack(header: Header, body: bytes) -> list[bytes]:
    """The parts of one frame, to be sent one after the other."""
    head = to_json(header)
    return [_LENGTHS.pack(len(head), len(body)), head, body]


async def read(stream: asyncio.StreamReader) -> tuple[Header, bytes]:
    """The next frame; raises `asyncio.IncompleteReadError` at the end of the stream."""
    head, body = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    header: Header = from_json(await stream.readexactly(head))
    return header, await stream.readexactly(body)


def receive(connection: socket.socket) -> tuple[Header, bytes]:
    """The next frame, blocking; raises `EOFError` at the end of the stream."""
    head, body = _LENGTHS.unpack(_receive_exactly(connection, _LENGTHS.size))
    header: Header = from_json(bytes(_receive_exactly(connection, head)))
    return header, bytes(_receive_exactly(connection, body))


def send(connection: socket.socket, header: Header, body: bytes) -> None:
    connection.sendall(b"".join(pack(header, body)))


def _receive_exactly(connection: socket.socket, length: int) -> bytearray:
    buffer = bytearray(length)
    view = memoryview(buffer)
    done = 0
    while done < length:
        count = connection.recv_into(view[done:])
        if not count:
            raise EOFError
        done += count
    return buffer
