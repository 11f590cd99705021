"""The encoders of the server, by model name. Each is imported only when it is needed, because that is slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from devkit.embeddings.models import HASHING_PREFIX, MINILM


class UnknownModelError(ValueError):
    """No encoder has this name."""


class Encoder(Protocol):
    """Texts in; unit vectors of shape (len(texts), dimensions) and the tokens read out. Threads may share it."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]: ...


def load(name: str) -> Encoder:
    """The encoder `name`; takes up to some seconds, for its weights or its first fit."""
    if name == MINILM:
        from devkit.embeddings.minilm import MiniLM

        return MiniLM()
    if name.startswith(HASHING_PREFIX) and name.removeprefix(HASHING_PREFIX).isdecimal():
        from devkit.embeddings.hashing import HashingSVD

        return HashingSVD(int(name.removeprefix(HASHING_PREFIX)))
    raise UnknownModelError(
        f"the model {name!r} does not exist; there are {MINILM} and {HASHING_PREFIX}<dimensions>"
    )
