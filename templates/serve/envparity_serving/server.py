"""
The server: models are checked and loaded before the port is open; requests are bounded; nobody's input is logged.

    /v2/health/live  /v2/health/ready  /v2/models/NAME  /v2/models/NAME/ready  /v2/models/NAME/infer
    /ping  /invocations  /metrics
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable

from fastapi import FastAPI, Request, Response

from envparity_serving import models, protocol
from envparity_serving.models import Model, NotServableError, Refused

PLACE = Path(__file__).resolve().parent.parent


class Settings:
    """The limits, each a variable of the environment (`build --env SERVE_MAX_ROWS=100`)."""

    def __init__(self) -> None:
        self.host = os.environ.get("SERVE_HOST", "0.0.0.0")  # noqa: S104
        self.port = _positive("SERVE_PORT", 8080)
        self.max_bytes = _positive("SERVE_MAX_BYTES", 10_000_000)
        self.max_rows = _positive("SERVE_MAX_ROWS", 10_000)
        self.read_s = _positive("SERVE_READ_SECONDS", 10)
        self.predict_s = _positive("SERVE_PREDICT_SECONDS", 30)
        self.stop_s = _positive("SERVE_STOP_SECONDS", 20)
        self.at_once = _positive("SERVE_AT_ONCE", 256)
        self.threads = _positive("SERVE_THREADS", 4)


def _positive(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise NotServableError(f"{name} must be a whole number above 0")
    return int(text)


def log(event: str, level: str = "info", **fields: Any) -> None:
    """One line of JSON on standard output. Neither inputs nor predictions ever stand in it."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stdout.write(json.dumps({"time": now, "level": level, "event": event, **fields}) + "\n")
    sys.stdout.flush()


class Metrics:
    """Counters, as text of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._rows = 0

    def add(self, route: str, status: int, seconds: float, rows: int) -> None:
        """Count one answer."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]
            self._rows += rows

    def text(self, served: dict[str, Model]) -> str:
        """Everything that was counted."""
        lines = ["# TYPE serve_requests_total counter"]
        with self._lock:
            for (route, status), count in sorted(self._requests.items()):
                lines.append(f'serve_requests_total{{route="{route}",status="{status}"}} {count}')
            lines.append("# TYPE serve_request_seconds summary")
            for route, seconds in sorted(self._seconds.items()):
                count = sum(number for (each, _), number in self._requests.items() if each == route)
                lines.append(f'serve_request_seconds_sum{{route="{route}"}} {seconds:.6f}')
                lines.append(f'serve_request_seconds_count{{route="{route}"}} {count}')
            lines += ["# TYPE serve_rows_total counter", f"serve_rows_total {self._rows}"]
        lines.append("# TYPE serve_model_info gauge")
        for model in served.values():
            name = model.name.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'serve_model_info{{model="{name}",kind="{model.kind}",sha256="{model.sha256}"}} 1')
        return "\n".join(lines) + "\n"


def application(served: dict[str, Model], settings: Settings) -> FastAPI:
    """The routes."""
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    metrics = Metrics()
    free = asyncio.Semaphore(settings.threads)

    async def answered(
        request: Request, route: str, name: str, read: Callable[..., Any], write: Callable[..., bytes]
    ) -> Response:
        started, rows, status, fault = time.perf_counter(), 0, 200, ""
        try:
            model = _the_model(served, name)
            body = protocol.document(await _body(request, settings))
            data, rows, method = read(body)
            if rows > settings.max_rows:
                raise Refused(f"{rows} rows are more than the {settings.max_rows} of a request", 413)
            content = await _predicted(model, data, method, functools.partial(write, model, body, method))
        except Refused as error:
            status, content = error.status, _fault(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a model raises is an answer, and no end of the server
            status = 400 if isinstance(error, (ValueError, TypeError, KeyError)) else 500
            fault = type(error).__name__
            content = _fault(f"the model refused the rows: {fault}: {str(error)[:500]}")
        seconds = time.perf_counter() - started
        metrics.add(route, status, seconds, rows if status == 200 else 0)
        more = {"fault": fault} if fault else {}
        log("request", route=route, model=name, status=status, rows=rows, ms=round(seconds * 1000, 3), **more)
        return Response(content, status, media_type="application/json")

    async def _predicted(model: Model, data: Any, method: str, write: Callable[[Any], bytes]) -> bytes:
        def work() -> bytes:
            return write(model.predict(data, method))

        try:
            await asyncio.wait_for(free.acquire(), settings.predict_s)
        except asyncio.TimeoutError as error:
            raise Refused("the server is busy; try again", 503) from error
        running = asyncio.get_running_loop().run_in_executor(None, work)
        # A thread cannot be ended: its place is free when it has finished, and not when its client was told.
        running.add_done_callback(lambda _: free.release())
        done, _ = await asyncio.wait({running}, timeout=settings.predict_s)
        if not done:
            running.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise Refused(f"the prediction took longer than {settings.predict_s} s", 504)
        return running.result()

    @api.get("/v2/health/live")
    @api.get("/v2/health/ready")
    @api.get("/ping")
    async def healthy() -> Response:
        return Response(b"{}", media_type="application/json")

    @api.get("/v2/models/{name}")
    @api.get("/v2/models/{name}/ready")
    async def about(name: str) -> Response:
        model = served.get(name)
        if model is None:
            return Response(_fault(f"no model `{name[:100]}`"), 404, media_type="application/json")
        found = {"name": model.name, "versions": [model.sha256[:16]], "platform": model.kind, "inputs": []}
        found["outputs"] = [{"name": method, "datatype": "BYTES", "shape": [-1]} for method in model.ask]
        return Response(json.dumps(found), media_type="application/json")

    @api.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> Response:
        def write(model: Model, body: dict[str, Any], method: str, answer: Any) -> bytes:
            return protocol.infer_answer(model.name, body, method, answer)

        return await answered(request, "infer", name, protocol.rows_of_infer, write)

    @api.post("/invocations")
    async def invocations(request: Request) -> Response:
        def write(model: Model, body: dict[str, Any], method: str, answer: Any) -> bytes:
            return protocol.invocation_answer(answer)

        only = next(iter(served)) if len(served) == 1 else ""
        return await answered(request, "invocations", only, protocol.rows_of_invocation, write)

    @api.get("/metrics")
    async def counted() -> Response:
        return Response(metrics.text(served), media_type="text/plain; version=0.0.4")

    return api


def _the_model(served: dict[str, Model], name: str) -> Model:
    if name not in served:
        raise Refused(f"no such model; the image serves: {', '.join(served)} (each at /v2/models/NAME/infer)", 404)
    return served[name]


async def _body(request: Request, settings: Settings) -> bytes:
    async def read() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > settings.max_bytes:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    too_large = Refused(f"the body is larger than {settings.max_bytes} bytes", 413)
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and int(said) > settings.max_bytes:
        raise too_large
    try:
        return await asyncio.wait_for(read(), settings.read_s)
    except asyncio.TimeoutError as error:
        raise Refused(f"the body did not arrive within {settings.read_s} s", 408) from error


def _fault(message: str) -> bytes:
    return json.dumps({"error": message}).encode()


def _warm_up(served: dict[str, Model], app: Path | None) -> None:
    """Ask each model once for the recorded example, a body of `/invocations`, so that no client waits for imports."""
    place = app / "example.json" if app is not None else None
    if place is None or not place.is_file():
        return
    try:
        rows, count, method = protocol.rows_of_invocation(protocol.document(place.read_bytes()))
        for model in served.values():
            protocol.invocation_answer(model.predict(rows, method))
    except Exception as error:
        raise NotServableError(f"the example `{place}` cannot be predicted: {type(error).__name__}") from error
    log("warm", rows=count)


def main() -> int:
    """Serve until a signal says to stop: 0. 1: what should be served cannot be."""
    import uvicorn

    place = Path(os.environ.get("SERVE_FOLDER", str(PLACE)))
    try:
        settings = Settings()
        listed = json.loads((place / "serving.json").read_text("utf-8"))
        app = Path(listed["app"]) if listed.get("app") else None
        started = time.perf_counter()
        served = models.load_all(Path(listed["models_folder"]), listed["models"], app)
        _warm_up(served, app)
    except NotServableError as error:
        log("not-ready", "error", reason=str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - a model's own code may raise anything while it is loaded
        log("not-ready", "error", reason=f"{type(error).__name__} while loading: {str(error)[:500]}")
        return 1
    log("loaded", models=list(served), seconds=round(time.perf_counter() - started, 3))
    config = uvicorn.Config(
        application(served, settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=settings.at_once,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=settings.stop_s,
        h11_max_incomplete_event_size=16_384,
    )
    # uvicorn sends itself the signal that stopped it once more when it has finished.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log("ready", port=settings.port)
    uvicorn.Server(config).run()
    log("stopped")
    return 0
