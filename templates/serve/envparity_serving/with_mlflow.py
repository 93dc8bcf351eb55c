"""
Serve by the scoring server of MLflow, as `mlflow models serve` does: in this very environment, without conda and
without a shell. https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Callable

from envparity_serving import starting
from envparity_serving.models import NotServableError


def prepared(said: dict[str, Any]) -> Callable[[], int]:
    """
    What serves the one model.

    Raises:
        NotServableError: it is not the locked one; there are several; MLflow, or what its server needs, is not there.
    """
    starting.require_sound(said)
    if len(said["models"]) != 1:
        raise NotServableError("MLflow's server has one model, and the image holds several")
    port, stop_s = starting.port(), starting.positive("SERVE_STOP_SECONDS", 20)
    host = os.environ.get("SERVE_HOST", "0.0.0.0")  # noqa: S104
    place = Path(said["models_folder"]) / said["models"][0]["name"]
    try:
        scoring_server = importlib.import_module("mlflow.pyfunc.scoring_server")
        application = scoring_server.init(importlib.import_module("mlflow.pyfunc").load_model(str(place)))
        serve = _by_uvicorn if type(application).__module__.partition(".")[0] == "fastapi" else _by_gunicorn
        serving = serve(application, host, port, stop_s)
    except ImportError as error:
        raise NotServableError(
            f"`{error.name}` is not in the image, and MLflow's server needs it: lock it with `--serve mlflow`"
        ) from error
    starting.log("loaded", server="mlflow", models=[place.name])
    return serving


def _by_uvicorn(application: Any, host: str, port: int, stop_s: int) -> Callable[[], int]:
    uvicorn = importlib.import_module("uvicorn")

    def serve() -> int:
        uvicorn.run(application, host=host, port=port, log_level="warning", timeout_graceful_shutdown=stop_s)
        return 0

    return serve


def _by_gunicorn(application: Any, host: str, port: int, stop_s: int) -> Callable[[], int]:
    """Up to MLflow 2 it is an application of Flask."""
    base = importlib.import_module("gunicorn.app.base").BaseApplication
    options = {"bind": f"{host}:{port}", "graceful_timeout": stop_s, "timeout": 60}
    options.update(worker_tmp_dir="/dev/shm", control_socket_disable=True)  # noqa: S108 - the disk may be read-only

    class Application(base):  # type: ignore[misc, valid-type]
        def load_config(self) -> None:
            for name, value in options.items():
                if name in self.cfg.settings:  # older ones have not all of them
                    self.cfg.set(name, value)

        def load(self) -> Any:
            return application

    def serve() -> int:
        Application().run()
        return 0

    return serve
