"""The script that the running process was started with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap, why

_LARGEST = 64 << 20


def script(main: ModuleType | None, environ: Mapping[str, str]) -> tuple[Path | None, Fact]:
    """
    The file that a process was started with, and the fact of it: its path, and the digest of its bytes as they are now.
    Of a notebook that says where it lies, the notebook. None, and a gap, where there is no file: typed in, or `-c`.
    """
    path = _path(main, environ)
    if path is None:
        reason = "the process was started with no file (typed in, `-c`, or a notebook that does not say its name)"
        return None, gap("source_code", "not-recorded", reason, "script")
    try:
        if path.stat().st_size > _LARGEST:
            return path, gap("source_code", "unread", f"it is larger than {_LARGEST >> 20} MiB", "script")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return path, gap("source_code", "unread", why(error), "script")
    return path, {"kind": "source-code", "script": str(path), "script_sha256": digest}


def _path(main: ModuleType | None, environ: Mapping[str, str]) -> Path | None:
    # `__file__` is absolute since Python 3.9, so that a later chdir does not matter. Visual Studio Code and Jupyter
    # tell a kernel which notebook it serves.
    named = (
        getattr(main, "__vsc_ipynb_file__", None),
        getattr(main, "__file__", None),
        environ.get("JPY_SESSION_NAME"),
    )
    for name in named:
        # ipykernel's own launcher is the file of every notebook.
        if isinstance(name, str) and name and Path(name).is_file() and "ipykernel" not in Path(name).name:
            return Path(name).absolute()
    return None
