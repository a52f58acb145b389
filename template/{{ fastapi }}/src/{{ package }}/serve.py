"""The model.onnx of a run as a service over HTTP.

    POST /predict    {"tokens": [[2, 3]]}: what follows each row, and how likely that is
    GET  /health     which model answers
    GET  /metrics    requests, times and batches, for Prometheus

Requests that wait while the model computes are computed together next: one that comes alone never waits for others.
"""

import asyncio
import itertools
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .config import ServeConfig
from .exported import Exported, Logits, Tokens, load
from .run import RunError

MOST_BYTES = 2**20
"""Of the body of a request. More is not read."""

SECONDS_TO_END = 30
"""In which requests that have begun are answered after a request to stop."""

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Bounds of the histogram of times."""


class Query(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    tokens: list[list[int]]
    """Rows, all of one length."""


class Answer(BaseModel):
    tokens: list[int]
    """What most likely follows each row."""
    probabilities: list[float]
    """How likely it is, by the model."""


class Job(NamedTuple):
    tokens: Tokens
    logits: asyncio.Future[Logits]


class Metrics:
    """What is counted and timed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("requests", "Requests for a prediction.", ["status"], registry=self.registry)
        self.seconds = Histogram("request_seconds", "Of each of them.", buckets=SECONDS, registry=self.registry)
        self.rows = Histogram(
            "batch_rows", "Rows in one call of the model.", buckets=[2**n for n in range(11)], registry=self.registry
        )
        self.waiting = Gauge("requests_waiting", "Requests that wait for the model.", registry=self.registry)


class TooManyError(Exception):
    """More requests than may wait."""


class Batches:
    """Computes one batch after the other, each of what has come to wait meanwhile."""

    def __init__(self, compute: Callable[[Tokens], Logits], asked: ServeConfig, metrics: Metrics) -> None:
        self._compute, self._asked, self._metrics = compute, asked, metrics
        self._waiting: list[Job] = []
        self._came = asyncio.Event()
        metrics.waiting.set_function(lambda: len(self._waiting))

    async def logits(self, tokens: Tokens) -> Logits:
        """Logits float[B, P] of what follows int[B, T]. Raises TooManyError if too many wait."""
        if len(self._waiting) >= self._asked.max_waiting:
            raise TooManyError
        job = Job(tokens, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._came.set()
        return await job.logits

    async def work(self) -> None:
        """Compute until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                await self._answer(self._next())

    def _next(self) -> list[Job]:
        """The oldest job, and those whose rows are as long, as far as there is room: nothing has to be padded."""
        length, room = self._waiting[0].tokens.shape[1], self._asked.max_rows
        jobs: list[Job] = []
        others: list[Job] = []
        for job in self._waiting:
            fits = job.tokens.shape[1] == length and len(job.tokens) <= room
            room -= len(job.tokens) if fits else 0
            (jobs if fits else others).append(job)
        self._waiting = others
        return jobs

    async def _answer(self, jobs: list[Job]) -> None:
        tokens = np.concatenate([job.tokens for job in jobs])
        self._metrics.rows.observe(len(tokens))
        results = await asyncio.gather(asyncio.to_thread(self._compute, tokens), return_exceptions=True)
        logits: Logits | BaseException = results[0]
        ends = [*itertools.accumulate(len(job.tokens) for job in jobs)]
        for job, end in zip(jobs, ends, strict=True):
            if job.logits.done():  # whoever asked has gone away
                continue
            if isinstance(logits, BaseException):
                job.logits.set_exception(logits)
            else:
                job.logits.set_result(logits[end - len(job.tokens) : end])


class Measured:
    """Around the service: counts and times predictions, and ends a request whose body is too large."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self.begun = 0
        self.answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/predict":
            await self._app(scope, receive, send)
            return
        started, size = time.perf_counter(), 0

        async def received() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise HTTPException(413, f"the body has more than {MOST_BYTES} bytes; send fewer rows at once")
            return message

        async def sent(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(message["status"]).inc()
            elif not message.get("more_body"):
                self._metrics.seconds.observe(time.perf_counter() - started)
                self.answered += 1

        self.begun += 1
        await self._app(scope, received, sent)


def make_service(model: Exported, asked: ServeConfig) -> Measured:
    """The service with a model. It computes in a thread, so that requests are read meanwhile."""
    metrics = Metrics()
    batches = Batches(model.logits, asked, metrics)

    @asynccontextmanager
    async def working(_: FastAPI) -> AsyncGenerator[None]:
        work = asyncio.create_task(batches.work())
        yield
        work.cancel()

    service = FastAPI(title=f"{model.about['run']} after step {model.about['step']}", lifespan=working)

    @service.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return JSONResponse({"detail": f"{where or 'body'}: {first['msg']}"}, 422)

    @service.post("/predict")
    async def predict(query: Query) -> Answer:
        try:
            tokens = as_array(query.tokens, model, asked.max_rows)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        try:
            logits = await batches.logits(tokens)
        except TooManyError as error:
            raise HTTPException(503, "too many requests wait; ask again", {"Retry-After": "1"}) from error
        probabilities = softmax(logits)
        best = probabilities.argmax(-1)
        return Answer(tokens=best.tolist(), probabilities=probabilities[np.arange(len(best)), best].tolist())

    @service.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", **model.about}

    @service.get("/metrics")
    async def measured() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return Measured(service, metrics)


def as_array(rows: list[list[int]], model: Exported, max_rows: int) -> Tokens:
    """The rows as int[B, T]. Raises ValueError, in a sentence, if the model does not take them."""
    if not 1 <= len(rows) <= max_rows:
        raise ValueError(f"tokens has {len(rows)} rows, and must have 1 to {max_rows}")
    shortest, longest = model.lengths[0], model.lengths[-1]
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"tokens.{number} has {len(row)} tokens and tokens.0 has {len(rows[0])}; send them apart")
        if len(row) not in model.lengths:
            must = f"{shortest} to {longest}" if shortest < longest else f"{longest}"
            raise ValueError(f"tokens.{number} has {len(row)} tokens, and must have {must}")
        for token in row:
            if not 0 <= token < model.vocabulary:
                raise ValueError(f"tokens.{number} has the token {token}, and they are below {model.vocabulary}")
    return np.array(rows, np.int64)


def softmax(logits: Logits) -> Logits:
    exponentials: Logits = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def serve_run(path: Path, asked: ServeConfig) -> None:
    """Answer with the exported model of the run in a folder until SIGINT or SIGTERM.

    Raises RunError if there is none, or if the port cannot be listened on.
    """
    model = load(path)
    service = make_service(model, asked)
    with listen(asked) as listening:
        config = uvicorn.Config(
            service, log_level="warning", access_log=False, timeout_graceful_shutdown=SECONDS_TO_END
        )
        print(f"{path}: step {model.about['step']} at {address(listening)}; Ctrl-C ends it", flush=True)
        # uvicorn takes these signals while it runs, ends in order, and sends itself the one that has come once more.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        uvicorn.Server(config).run([listening])
    print(f"{path}: ended, with {service.answered} of {service.begun} requests answered", flush=True)


def listen(asked: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in asked.host else socket.AF_INET
    # TCP by its number: asyncio then lets small packets go at once, where else each answer takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port is free again when its service has ended
    try:
        listening.bind((asked.host, asked.port))
        listening.listen()
        return listening
    except OSError as error:
        listening.close()
        raise RunError(
            f"port {asked.port} of {asked.host} cannot be listened on ({os.strerror(error.errno or 0)}); "
            "choose another with --port"
        ) from error


def address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
