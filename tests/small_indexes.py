"""An index on the loopback of small wheels that are made here: who requires what is written beside each."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import once
from tests.tools import needs_uv, not_here
from tests.wheels import LocalIndex, local_index, pack


@contextmanager
def small_index(wheels: Mapping[str, Sequence[str]], **changes: Mapping[str, object]) -> Iterator[LocalIndex]:
    """
    An index of `{"web 1.0": ["core>=2"]}`: name and version, and what that requires. `changes` are by the name of a
    project, with `_` for `-`: fields of its files, such as `yanked`.
    """
    with tempfile.TemporaryDirectory() as folder, local_index() as served:
        pages: dict[str, list[dict[str, object]]] = {}
        for each, requires in wheels.items():
            name, version = each.split()
            path = wheel(Path(folder), name, version, requires)
            data = path.read_bytes()
            served.file(f"/files/{path.name}", data)
            with zipfile.ZipFile(path) as archive:  # PEP 658, as the public index has it
                metadata = archive.read(f"{name.replace('-', '_')}-{version}.dist-info/METADATA")
            served.file(f"/files/{path.name}.metadata", metadata)
            pages.setdefault(name, []).append(
                {
                    "filename": path.name,
                    "url": f"{served.address}/files/{path.name}",
                    "size": len(data),
                    "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                    "core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()},
                    **changes.get(name.replace("-", "_"), {}),
                }
            )
        for name, files in pages.items():
            served.project(name, *files)
        yield served


def wheel(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> Path:
    """A wheel with one module, that requires these."""
    stem = name.replace("-", "_")
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    extras = {text.partition("extra == ")[2].strip("'\" ") for text in requires if "extra == " in text}
    lines += [f"Provides-Extra: {extra}" for extra in sorted(extras)]
    lines += [f"Requires-Dist: {text}" for text in requires]
    return pack(
        folder,
        {
            f"{stem}/__init__.py": f"version = {version!r}\n".encode(),
            f"{stem}-{version}.dist-info/METADATA": ("\n".join(lines) + "\n").encode(),
        },
        file_name=f"{stem}-{version}-py3-none-any.whl",
    )


def pip_tools(factory: pytest.TempPathFactory) -> Path:
    """The folder of `pip-compile`, in an environment of its own: it pulls libraries to other versions than ours."""

    def make(folder: Path) -> None:
        uv = needs_uv()
        made = folder / "pip-tools"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, made], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", made / "bin" / "python", "pip-tools>=7.4", "pip"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            not_here(f"pip-tools cannot be installed: {done.stderr.strip()[-200:]}")

    return once.made_once(once.of_the_run(factory) / "resolvers", make) / "pip-tools" / "bin"
