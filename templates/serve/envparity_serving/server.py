"""
The server: models are checked and loaded before the port is open; requests are bounded; nobody's input is logged.

    /v2/health/live  /v2/health/ready  /v2/models/NAME  /v2/models/NAME/ready  /v2/models/NAME/infer
    /ping  /invocations  /metrics
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import logging
import os
import signal
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Callable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from envparity_serving import models, parity, protocol
from envparity_serving.models import Model, NotServableError, Refused
from envparity_serving.starting import drifts, log, parity_wanted, port, positive


class Settings:
    """The limits, each a variable of the environment (`build --env SERVE_MAX_ROWS=100`)."""

    def __init__(self) -> None:
        self.host = os.environ.get("SERVE_HOST", "0.0.0.0")  # noqa: S104
        self.port = port()
        self.max_bytes = positive("SERVE_MAX_BYTES", 10_000_000)
        self.max_rows = positive("SERVE_MAX_ROWS", 10_000)
        self.read_s = positive("SERVE_READ_SECONDS", 10)
        self.predict_s = positive("SERVE_PREDICT_SECONDS", 30)
        self.stop_s = positive("SERVE_STOP_SECONDS", 20)
        self.at_once = positive("SERVE_AT_ONCE", 256)
        self.threads = positive("SERVE_THREADS", 4)
        self.parity = parity_wanted()


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

    def text(self, served: dict[str, Model], drifts: list[str]) -> str:
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
        lines += ["# TYPE serve_parity_drifts gauge", f"serve_parity_drifts {len(drifts)}"]
        lines.append("# TYPE serve_model_info gauge")
        for model in served.values():
            name = model.name.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'serve_model_info{{model="{name}",kind="{model.kind}",sha256="{model.sha256}"}} 1')
        return "\n".join(lines) + "\n"


def application(served: dict[str, Model], settings: Settings, differing: list[str]) -> FastAPI:
    """The routes. `differing` is what is not as it was locked."""
    withheld = _fault("this container is not what was locked: " + "; ".join(differing)) if differing else b""
    withheld = withheld if settings.parity == "require" else b""
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    metrics = Metrics()
    free = asyncio.Semaphore(settings.threads)
    get = functools.partial(api.api_route, methods=["GET", "HEAD"])  # load balancers ask by HEAD

    async def answered(
        request: Request, route: str, name: str, read: Callable[..., Any], write: Callable[..., bytes]
    ) -> Response:
        started, rows, status, fault, unnamed = time.perf_counter(), 0, 200, "", False
        try:
            if withheld:
                raise Refused("this container is not what was locked, and answers nothing", 503)
            model = _the_model(served, name)
            body = protocol.document(await _body(request, settings))
            data, rows, method = read(body)
            unnamed = bool(model.columns) and not isinstance(data, dict) and not hasattr(data, "columns")
            if rows > settings.max_rows:
                raise Refused(f"{rows} rows are more than the {settings.max_rows} of a request", 413)
            content = await _predicted(model, data, method, functools.partial(write, model, body, method))
        except Refused as error:
            status, content = error.status, _fault(str(error))
            fault = type(error.__cause__).__name__ if status == 500 else ""
        except Exception as error:  # noqa: BLE001 - whatever a model raises is an answer, and no end of the server
            status = 400 if isinstance(error, (ValueError, TypeError, KeyError, OverflowError)) else 500
            fault = type(error).__name__
            said = str(error).partition("\nStack trace:")[0]  # XGBoost tells that too
            advice = (
                "; it was trained with named columns: send `dataframe_split`, or an input for each" if unnamed else ""
            )
            content = _fault(f"the model refused the rows: {fault}: {said[:500]}{advice}")
        seconds = time.perf_counter() - started
        metrics.add(route, status, seconds, rows if status == 200 else 0)
        more = {"fault": fault} if fault else {}
        log("request", route=route, model=name, status=status, rows=rows, ms=round(seconds * 1000, 3), **more)
        return Response(content, status, media_type="application/json")

    async def _predicted(model: Model, data: Any, method: str, write: Callable[[Any], bytes]) -> bytes:
        def work() -> bytes:
            answer = model.predict(data, method)
            try:
                return write(answer)
            except (TypeError, ValueError, RecursionError) as error:  # no matter of what was sent
                raise Refused(f"the model's answer cannot be written as JSON: {str(error)[:200]}", 500) from error

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

    @get("/v2/health/live")
    async def live() -> Response:
        return Response(b"{}", media_type="application/json")

    @get("/v2/health/ready")
    @get("/ping")
    async def ready() -> Response:
        return Response(withheld or b"{}", 503 if withheld else 200, media_type="application/json")

    @get("/v2")
    async def about_the_server() -> Response:
        found = {"name": "envparity", "version": "1", "extensions": []}
        return Response(json.dumps(found), media_type="application/json")

    @get("/v2/models/{name}")
    @get("/v2/models/{name}/ready")
    async def about(name: str, request: Request) -> Response:
        model = served.get(name)
        if model is None:
            return Response(_fault(f"no model `{name[:100]}`"), 404, media_type="application/json")
        if request.url.path.endswith("/ready"):
            return await ready()
        found = {"name": model.name, "versions": [model.sha256[:16]], "platform": model.kind}
        found.update(inputs=model.inputs, outputs=model.outputs)
        if model.columns:
            found["parameters"] = {"columns": model.columns}
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

    @api.exception_handler(HTTPException)
    async def elsewhere(_: Request, error: HTTPException) -> Response:
        """A path or a method that there is none of; none is told by what was asked, which nobody checked."""
        message = f"{_PATHS}; the models are: {', '.join(served)}"
        return Response(_fault(message), error.status_code, error.headers, "application/json")

    @get("/metrics")
    async def counted() -> Response:
        return Response(metrics.text(served, differing), media_type="text/plain; version=0.0.4")

    return api


_PATHS = (
    "there is GET /v2/models/NAME (what it takes), POST /v2/models/NAME/infer, POST /invocations, "
    "GET /v2/health/ready, GET /metrics"
)


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

    if request.headers.get("content-encoding", "").lower() not in {"", "identity"}:
        raise Refused("the body is compressed (`Content-Encoding`): send it as it is", 415)
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


class Warnings:
    """
    What libraries warn of, as a line of the log, once for each place in their code. The text is that of a library while
    models are loaded; afterwards it may hold what a client sent, and is left out.
    """

    def __init__(self) -> None:
        self.loading = True
        self._said: set[tuple[str, str, int]] = set()

    def show(self, message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
        """In the place of `warnings.showwarning`."""
        place = (category.__name__, filename, lineno)
        if self.loading or place not in self._said:
            text = {"message": str(message).partition("\n")[0][:500]} if self.loading else {}
            log("warned", "warning", kind=category.__name__, place=f"{filename}:{lineno}", **text)
        self._said.add(place)


def _warm_up(served: dict[str, Model], app: Path | None) -> list[str]:
    """
    Ask each model once for the recorded example, a body of `/invocations`, so that no client waits for imports; and
    say which answers are not the `predictions` that were recorded with it.
    """
    place = app / "example.json" if app is not None else None
    if place is None or not place.is_file():
        return []
    try:
        example = protocol.document(place.read_bytes())
        recorded = example.pop("predictions", None)
        rows, count, method = protocol.rows_of_invocation(example)
        answers = {name: protocol.invocation_answer(model.predict(rows, method)) for name, model in served.items()}
    except Exception as error:
        raise NotServableError(f"the example `{place}` cannot be predicted: {type(error).__name__}") from error
    log("warm", rows=count)
    if recorded is None:
        return []
    return [line for name, answer in answers.items() for line in parity.of_predictions(name, recorded, answer)]


def prepared(said: dict[str, Any]) -> Callable[[], int]:
    """
    What serves these models, which are loaded.

    Raises:
        NotServableError: one of them cannot be served.
    """
    uvicorn, connections = (importlib.import_module(name) for name in ("uvicorn", "envparity_serving.connections"))
    logging.getLogger("uvicorn").addHandler(connections.AsLine(log))
    logging.getLogger("uvicorn").propagate = False
    settings = Settings()
    warned = Warnings()
    warnings.showwarning = warned.show
    app = Path(said["app"]) if said.get("app") else None
    started = time.perf_counter()
    served = models.load_all(Path(said["models_folder"]), said["models"], app)
    found = drifts(said, _warm_up(served, app), settings.parity)
    warned.loading = False
    log("loaded", models=list(served), seconds=round(time.perf_counter() - started, 3))
    config = uvicorn.Config(
        application(served, settings, found),
        host=settings.host,
        port=settings.port,
        http=connections.ending_after(settings.read_s),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=settings.at_once,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=settings.stop_s,
        h11_max_incomplete_event_size=16_384,
    )

    def serve() -> int:
        server = uvicorn.Server(config)

        def stop(*_: Any) -> None:
            server.should_exit = True

        # Until uvicorn has its own handlers; and it sends itself the signal once more when it has finished.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        log("ready", port=settings.port)
        server.run()
        log("stopped")
        return 0

    return serve
