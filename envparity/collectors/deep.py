"""What runs in the target where `--deep` asked for it: its numeric libraries are imported, and asked."""

from __future__ import annotations

import importlib
import sys
from typing import Iterator

from envparity.collectors.frame import answer
from envparity.collectors.loaded import loaded
from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap

# Those whose import maps BLAS, LAPACK, OpenMP or a GPU's libraries, or which have switches.
_NUMERIC = (
    "numpy", "scipy.linalg", "pandas", "sklearn", "torch", "tensorflow", "jax", "onnxruntime", "xgboost", "lightgbm",
    "numexpr", "faiss", "cv2",
)  # fmt: skip


def run_deep(nonce: str, wanted: list[str]) -> None:
    """
    Import the numeric libraries that are installed and the modules named in `wanted`, and answer with what `loaded`
    says (see `frame.answer`). Whatever they print goes to the standard error.
    """

    def facts() -> list[Fact]:
        gaps = [fact for name in dict.fromkeys([*_NUMERIC, *wanted]) for fact in _import(name, name in wanted)]
        return gaps + loaded(("__main__",))

    answer(nonce, facts)


def _import(name: str, is_wanted: bool) -> Iterator[Fact]:
    """Import a module. That it is not installed is worth a word only where the model refers to it."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if is_wanted or error.name not in (name, name.partition(".")[0]):
            yield gap("numerics", "unread", "it cannot be imported: %s" % error, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the code of a library, which may raise anything, SystemExit too
        sys.modules.pop(name, None)
        yield gap(
            "numerics", "unread", "it cannot be imported: %s: %s" % (type(error).__name__, str(error)[:300]), name
        )
