"""
Serve by MLServer (https://github.com/SeldonIO/MLServer): one process, which finds its models by the
`model-settings.json` of each in the folder `mlserver`. What its own variables (`MLSERVER_…`) say goes first.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable

from envparity_serving import starting
from envparity_serving.models import NotServableError


def prepared(said: dict[str, Any]) -> Callable[[], int]:
    """
    What serves these models.

    Raises:
        NotServableError: a model is not the locked one, or MLServer is not there.
    """
    starting.require_sound(said)
    port = starting.port()
    try:
        from mlserver.cli import main
    except ImportError as error:
        raise NotServableError("MLServer is not in the image: lock it with `--serve mlserver`") from error

    def serve() -> int:
        # Workers would write into the folder where they start, which may be on a disk that cannot be written to.
        os.environ.setdefault("MLSERVER_PARALLEL_WORKERS", "0")
        os.environ.setdefault("MLSERVER_DEBUG", "false")
        os.environ.setdefault("MLSERVER_HTTP_PORT", str(port))
        starting.log("starting", server="mlserver", models=[item["name"] for item in said["models"]])
        sys.argv = ["mlserver", "start", str(starting.PLACE / "mlserver")]
        main()
        return 0

    return serve
