"""
What comes before any server answers: the settings of the image are read, its models held against their digests, and the
container against its lock. Which server it is, stands in `serving.json`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable

from envparity_serving import parity
from envparity_serving.models import NotServableError, check_all

PLACE = Path(os.environ.get("SERVE_FOLDER", str(Path(__file__).resolve().parent.parent)))

SERVERS = {"fastapi": "server", "mlserver": "with_mlserver", "mlflow": "with_mlflow"}
"""The module of each server; its `prepared` takes the settings, and gives what serves until a signal says to stop."""

PARITY = ("report", "require", "off")
"""What becomes of a container that is not what was locked: it is said, or it answers nothing, or nobody looks."""


def log(event: str, level: str = "info", **fields: Any) -> None:
    """One line of JSON on standard output. Neither inputs nor predictions ever stand in it."""
    sys.stdout.write(_line(event, level, fields))
    sys.stdout.flush()


def _line(event: str, level: str, fields: dict[str, Any]) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"time": now, "level": level, "event": event, **fields}) + "\n"


def end_while_loading() -> None:
    """
    Let the signals that stop a container end it at once, until a server has its own handlers: the first process of a
    container gets none that it does not handle, and would be waited for, and killed.
    """

    def end(*_: Any) -> None:
        os.write(1, _line("stopped", "info", {}).encode())  # what the signal interrupted may be writing itself
        os._exit(0)  # whatever is being loaded, it would go on in a handler of its own

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def positive(name: str, default: int) -> int:
    """A limit, as a variable of the environment states it."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise NotServableError(f"{name} must be a whole number above 0")
    return int(text)


def port() -> int:
    """Where a server listens."""
    found = positive("SERVE_PORT", 8080)
    if found > 65_535:
        raise NotServableError("SERVE_PORT must be a port: 1 to 65535")
    return found


def parity_wanted() -> str:
    """One of `PARITY`."""
    found = os.environ.get("SERVE_PARITY", "report")
    if found not in PARITY:
        raise NotServableError(f"SERVE_PARITY must be one of {', '.join(PARITY)}")
    return found


def drifts(said: dict[str, Any], predictions: list[str], wanted: str) -> list[str]:
    """What differs from what was locked, after it was logged."""
    if wanted == "off":
        return []
    found = [*parity.drifts(said.get("locked", {})), *predictions]
    if found:
        level = "error" if wanted == "require" else "warning"
        log("not-in-parity", level, drifts=found[: parity.MOST_SHOWN], count=len(found))
    return found


def require_sound(said: dict[str, Any]) -> None:
    """
    For a server of others, which loads the models itself: they are the locked ones; and the container is what was
    locked, where that is required.

    Raises:
        NotServableError: one of both does not hold.
    """
    check_all(Path(said["models_folder"]), said["models"])
    wanted = parity_wanted()
    found = drifts(said, [], wanted)
    if found and wanted == "require":
        raise NotServableError("this container is not what was locked: " + "; ".join(found[: parity.MOST_SHOWN]))


def main() -> int:
    """Serve until a signal says to stop: 0. 1: what should be served cannot be."""
    end_while_loading()
    # A model's server tells nobody of itself: the ONNX runtime begins to when it is imported
    # (https://github.com/microsoft/onnxruntime/pull/27379).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        said = json.loads((PLACE / "serving.json").read_text("utf-8"))
        server = importlib.import_module(f"envparity_serving.{SERVERS[said.get('server', 'fastapi')]}")
        serve: Callable[[], int] = server.prepared(said)
    except NotServableError as error:
        log("not-ready", "error", reason=str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - a model's own code may raise anything while it is loaded
        log("not-ready", "error", reason=f"{type(error).__name__} while loading: {str(error)[:500]}")
        return 1
    return serve()
