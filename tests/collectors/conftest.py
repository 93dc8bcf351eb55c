"""
The collectors' own tests run on every Python from 3.8 on, with pytest alone.

Where envparity cannot be imported (it needs a newer Python), an empty package that points at its folder stands in.
"""

import functools
import importlib.util
import io
import posixpath
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

if sys.version_info < (3, 11) or importlib.util.find_spec("envparity") is None:
    package = types.ModuleType("envparity")
    package.__path__ = [str(ROOT / "envparity")]
    sys.modules["envparity"] = package


class DictTree:
    """A tree that is a dictionary: path to bytes (a file), to text (a link), to None (a FIFO)."""

    def __init__(self, files):
        self.files = dict(files)
        self.folders = {"/"}
        for path in self.files:
            folder = posixpath.dirname(path)
            while folder not in self.folders:
                self.folders.add(folder)
                folder = posixpath.dirname(folder)

    def resolve(self, path):
        done, ahead, links = "/", [part for part in reversed(path.split("/")) if part], 0
        while ahead:
            part = ahead.pop()
            done = posixpath.normpath(posixpath.join(done, part))
            target = self.files.get(done)
            if isinstance(target, str):
                links += 1
                if links > 40:
                    raise OSError(40, "Too many levels of symbolic links", path)
                done = "/" if target.startswith("/") else posixpath.dirname(done)
                ahead.extend(part for part in reversed(target.split("/")) if part)
        return done

    def kind(self, path):
        try:
            real = self.resolve(path)
        except OSError:
            return None
        if real in self.folders:
            return "folder"
        if real not in self.files:
            return None
        return "file" if isinstance(self.files[real], bytes) else "other"

    def is_link(self, path):
        return isinstance(self.files.get(path), str)

    def entries(self, path):
        real = self.resolve(path)
        if real not in self.folders:
            raise OSError(20, "Not a directory", path)
        start = real.rstrip("/") + "/"
        return sorted({item[len(start) :].split("/")[0] for item in self.files if item.startswith(start)})

    def read(self, path, limit=16 << 20):
        data = self.files.get(self.resolve(path))
        if not isinstance(data, bytes):
            raise OSError(2, "No such file or directory", path)
        if len(data) > limit:
            raise OSError(27, "File too large", path)
        return data

    def open(self, path):
        return io.BytesIO(self.read(path, 1 << 40))

    def size(self, path):
        return len(self.read(path, 1 << 40))

    def sha256(self, path):
        import hashlib

        return hashlib.sha256(self.read(path, 1 << 40)).hexdigest()


@pytest.fixture
def tree_of():
    """A function that makes a tree of `{path: bytes}`."""
    return DictTree


@pytest.fixture
def data():
    """The folder of recorded files."""
    return ROOT / "tests" / "data"


@functools.lru_cache(maxsize=1)
def pythons():
    """
    Every CPython from 3.8 on that this machine has: on PATH, and in pyenv's folder.

    Under tox only the one that runs: all of them are asked by the whole suite already, and each by its own run of tox.
    """
    import os
    import subprocess

    if "TOX_ENV_NAME" in os.environ:
        return [sys.executable]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [str(path) for path in sorted(root.glob("versions/*/bin/python"))]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found += [str(Path(folder, "python3." + str(minor))) for minor in range(8, 15)]
    # The system's own Python may be patched (Debian's is), so it is tried whatever PATH says.
    found += ["/usr/bin/python3", sys.executable]
    kept = {}
    for path in found:
        if not Path(path).is_file() or "shims" in path:
            continue
        said = subprocess.run(
            [path, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2], sys.implementation.name)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        words = said.stdout.decode().split()
        if said.returncode == 0 and words[2:] == ["cpython"] and (int(words[0]), int(words[1])) >= (3, 8):
            kept.setdefault(os.path.realpath(path), path)
    return list(kept.values())


def pytest_generate_tests(metafunc):
    if "python" in metafunc.fixturenames:
        metafunc.parametrize("python", pythons())
