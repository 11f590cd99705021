"""Vectors for the initial load of a demo, cached from run to run.

Only the load of "the collection that existed before" may come from this cache; a migration always computes its
vectors. The cache is keyed by the encoder's fingerprint (another fit is another encoder) and by the text.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from devkit import paths
from teal.sources.fingerprint import SENTENCE, fingerprint

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]

BATCH = 64
STREAMS = 2
TIMEOUT = 300.0


def vectors_of(url: str, model: str, texts: Sequence[str], progress: Progress | None = None) -> Floats:
    """Vectors of shape (len(texts), dimensions) from the server at `url`, or from an earlier run.

    `progress` is called with the vectors computed and to compute, when there are any to compute.

    Raises:
        httpx.HTTPError: the server cannot be reached, or refuses.
    """
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        file = _file(fingerprint(_embed(client, model, [SENTENCE])[0]))
        known = _read(file)
        missing = [text for text in dict.fromkeys(texts) if _key(text) not in known]
        done = 0
        for batch, vectors in _computed(client, model, missing):
            known.update(zip(map(_key, batch), vectors, strict=True))
            done += len(batch)
            if progress:
                progress(done, len(missing))
    if missing:
        _write(file, known)
    return np.stack([known[_key(text)] for text in texts])


def _computed(client: httpx.Client, model: str, texts: list[str]) -> Iterator[tuple[list[str], Floats]]:
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    with ThreadPoolExecutor(STREAMS) as pool:
        yield from zip(batches, pool.map(lambda batch: _embed(client, model, batch), batches), strict=True)


def _embed(client: httpx.Client, model: str, texts: list[str]) -> Floats:
    answer = client.post("/embeddings", json={"model": model, "input": texts}).raise_for_status().json()
    return np.array([item["embedding"] for item in answer["data"]], np.float32)


def _file(fingerprint: str) -> Path:
    folder = paths.home() / "vectors"
    folder.mkdir(exist_ok=True)
    return folder / f"{fingerprint}.npz"


def _read(file: Path) -> dict[str, Floats]:
    if not file.exists():
        return {}
    with np.load(file) as stored:
        return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))


def _write(file: Path, known: dict[str, Floats]) -> None:
    partial = file.with_suffix(f".{os.getpid()}.partial.npz")
    np.savez(partial, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    partial.replace(file)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
