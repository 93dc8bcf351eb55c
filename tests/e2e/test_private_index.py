"""A lock and an image from an index that wants a password, beside the public one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from tests.commands import envparity, refused
from tests.indexes import SECRET, USER, private_index
from tests.tools import needs_uv
from tests.wheels import pack


def test_what_a_private_index_and_pypi_served_is_locked_built_and_verified(tmp_path: Path) -> None:
    """The usual company: its own packages on its own index, all others from PyPI; the lock goes into the repository."""
    uv, venv = needs_uv(), tmp_path / "train"
    own = pack(tmp_path, {"corpdemo/__init__.py": b"answer = 42\n"}, file_name="corpdemo-1.0-py3-none-any.whl")
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, venv], check=True)
    login = {"ENVPARITY_INDEX_CORP_USERNAME": USER, "ENVPARITY_INDEX_CORP_PASSWORD": SECRET}
    cache = {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache")}
    with private_index(own, form="text/html") as index:
        pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "-q", "--no-cache-dir"]
        subprocess.run([*pip, "--extra-index-url", index.with_login, "corpdemo==1.0", "six==1.17.0"], check=True)
        envparity("snapshot", f"venv:{venv}", "-o", "model.env.json", cwd=tmp_path)
        corp = ("--index", f"corp={index.root}")
        refused("lock", "model.env.json", *corp, status=3, says="answers 401", cwd=tmp_path, **cache)
        envparity("lock", "model.env.json", *corp, "--prove", "--require", "proven", cwd=tmp_path, **cache, **login)
        digest = hashlib.sha256(own.read_bytes()).hexdigest()
        (tmp_path / "cache" / "blobs" / "sha256" / digest[:2] / digest).unlink()
        fresh = {**cache, "ENVPARITY_INDEX_CORP_URL": index.root}
        envparity("build", "pylock.toml", "--output", "oci:image", cwd=tmp_path, **fresh, **login)
        envparity("verify", "oci:image", "--against", "pylock.toml", cwd=tmp_path, **fresh)

    explained = json.loads(envparity("lock", "pylock.toml", "--explain", "--format", "json", cwd=tmp_path).stdout)
    assert explained["counts"] == {"proven": 2}
    lock = (tmp_path / "pylock.toml").read_text()
    assert f'index = "{index.root}"' in lock
    assert 'index = "https://pypi.org/simple/"' in lock
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or path.is_symlink() or SECRET.encode() not in path.read_bytes(), path
