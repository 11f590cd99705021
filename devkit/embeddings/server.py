"""Real encoders behind OpenAI's API: `POST /v1/embeddings`, `GET /v1/models`, `GET /health`.

Every returned vector was computed for the request. `GET /_calls` counts them by caller, so that a test can prove
that paid work was not done twice; a cache here would hide that. Encoders compute in threads. Small requests (a
search) have a thread of their own, so that they do not wait for the batches of a migration.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from devkit.embeddings import encoders
from devkit.embeddings.encoders import Encoder, UnknownModelError
from devkit.embeddings.faults import Fault, Faults

Floats = NDArray[np.float32]

MAX_TEXTS = 2048
MAX_BODY = 32 * 2**20
SMALL = 4
BULK_THREADS = 2


class Asked(BaseModel):
    """The body of a request; fields that are not supported are refused, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    input: str | list[str]
    encoding_format: str = "float"
    dimensions: int | None = None
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


@dataclass
class Served:
    """What one caller was answered: `distinct` of `texts` were different ones (for one model)."""

    requests: int = 0
    refused: int = 0
    texts: int = 0
    tokens: int = 0
    seen: set[bytes] = field(default_factory=set)

    def count(self, asked: Asked, tokens: int) -> None:
        self.requests += 1
        self.texts += len(asked.texts)
        self.tokens += tokens
        self.seen.update(hashlib.sha256(f"{asked.model}\0{text}".encode()).digest() for text in asked.texts)

    def as_json(self) -> dict[str, int]:
        counts = {name: getattr(self, name) for name in ("requests", "refused", "texts", "tokens")}
        return counts | {"distinct": len(self.seen)}


class RefusedError(Exception):
    """An answer other than 200, in OpenAI's shape."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers

    def response(self) -> web.Response:
        body = {"error": {"message": str(self), "type": "invalid_request_error", "code": self.status}}
        return web.json_response(body, status=self.status, headers=self.headers)


class EmbeddingService:
    """The server's state and handlers; `application()` is what aiohttp runs."""

    def __init__(self, models: list[str], api_key: str | None = None, *, faults: bool = False) -> None:
        self._encoders: dict[str, Encoder] = {name: encoders.load(name) for name in models}
        self._loading = asyncio.Lock()
        self._api_key = api_key
        self._faults = Faults()
        self._faults_allowed = faults
        self._served: defaultdict[str, Served] = defaultdict(Served)
        self._small = ThreadPoolExecutor(1, "small")
        self._bulk = ThreadPoolExecutor(BULK_THREADS, "bulk")

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_get("/health", self._health)
        application.router.add_get("/v1/models", self._models)
        application.router.add_post("/v1/embeddings", self._embeddings)
        application.router.add_get("/_calls", self._calls)
        if self._faults_allowed:
            application.router.add_post("/_faults", self._set_faults)
        application.cleanup_ctx.append(self._threads)
        return application

    async def _threads(self, _: web.Application) -> AsyncIterator[None]:
        yield
        for pool in (self._small, self._bulk):
            pool.shutdown(cancel_futures=True)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, _: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "owned_by": "teal-devkit"} for name in self._encoders]
        return web.json_response({"object": "list", "data": data})

    async def _calls(self, _: web.Request) -> web.Response:
        return web.json_response({agent: served.as_json() for agent, served in self._served.items()})

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self._faults.replace(await request.read())
        except ValidationError as error:
            return RefusedError(400, str(error)).response()
        return web.json_response({"pending": len(self._faults.pending)})

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
        try:
            asked = self._read(request, await request.read())
            fault = self._faults.take(agent, asked.texts)
            await self._fail(fault, request)
            vectors, tokens = await self._embed(asked)
        except RefusedError as refused:
            self._served[agent].refused += 1
            return refused.response()
        self._served[agent].count(asked, tokens)
        if fault and fault.kind == "not-json":
            return web.Response(text="<html><body>It works!</body></html>", content_type="text/html")
        return web.Response(body=_answer(asked, vectors, tokens, fault), content_type="application/json")

    def _read(self, request: web.Request, body: bytes) -> Asked:
        if self._api_key and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            raise RefusedError(401, "Incorrect API key provided.")
        try:
            asked = Asked.model_validate_json(body)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
            raise RefusedError(400, "; ".join(problems)) from error
        if not asked.texts or not all(asked.texts):
            raise RefusedError(400, "input must be a text or a list of texts, none of them empty")
        if len(asked.texts) > MAX_TEXTS:
            raise RefusedError(413, f"batch size {len(asked.texts)} > maximum allowed batch size {MAX_TEXTS}")
        if asked.encoding_format != "float":
            raise RefusedError(400, f"encoding_format {asked.encoding_format!r} is not served, only 'float'")
        return asked

    async def _fail(self, fault: Fault | None, request: web.Request) -> None:
        match fault.kind if fault else None:
            case "bad-key":
                raise RefusedError(401, "Incorrect API key provided.")
            case "rate-limit" if fault:
                raise RefusedError(429, "Rate limit reached.", {"Retry-After": f"{fault.seconds:g}"})
            case "error" if fault:
                raise RefusedError(fault.status, "The server had an error while processing your request.")
            case "hang" if fault:
                await asyncio.sleep(fault.seconds)
            case "disconnect":
                cast("asyncio.Transport", request.transport).abort()
                raise RefusedError(500, "disconnected")

    async def _embed(self, asked: Asked) -> tuple[Floats, int]:
        encoder = await self._encoder(asked.model)
        if asked.dimensions not in (None, encoder.dimensions):
            raise RefusedError(400, f"{asked.model} has {encoder.dimensions} dimensions and no others")
        pool = self._small if len(asked.texts) <= SMALL else self._bulk
        return await asyncio.get_running_loop().run_in_executor(pool, encoder.embed, asked.texts)

    async def _encoder(self, name: str) -> Encoder:
        async with self._loading:
            if name not in self._encoders:
                try:
                    self._encoders[name] = await asyncio.to_thread(encoders.load, name)
                except ValueError as error:
                    status = 404 if isinstance(error, UnknownModelError) else 400
                    raise RefusedError(status, str(error)) from error
            return self._encoders[name]


def _answer(asked: Asked, vectors: Floats, tokens: int, fault: Fault | None) -> bytes:
    data: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors.tolist())
    ]
    if fault:
        _spoil(data, fault, fault.spoilt(asked.texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "model": asked.model, "data": data, "usage": usage}).encode()


def _spoil(data: list[dict[str, Any]], fault: Fault, position: int) -> None:
    match fault.kind:
        case "nan":
            data[position]["embedding"][0] = float("nan")
        case "wrong-dimension":
            data[position]["embedding"].pop()
        case "wrong-count":
            data.pop()
        case "shuffled":
            data.reverse()
