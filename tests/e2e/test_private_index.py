"""A lock and an image from an index that wants a password, beside the public one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.cli.test_secrets import everything
from tests.commands import envparity, refused
from tests.indexes import SECRET, USER, private_index
from tests.oci.registry import Fake, serving, wants_basic
from tests.oci.test_registry import logged_in
from tests.tools import needs_tool, needs_uv
from tests.wheels import pack

PUSH = "pu5h-canary"
"""The password of the registry."""


def started(number: int, *arguments: str, cwd: Path, **variables: str) -> bytes:
    """
    What a command that succeeds prints; what its children were started with goes into a log there, with all of their
    variables; of itself, which was given logins in variables, only what it was called with.
    """
    log = cwd / f"started-{number}.log"
    strace = [needs_tool("strace"), "-f", "-v", "-e", "trace=execve", "-s", "65536", "-o", log]
    done = subprocess.run(
        [*strace, sys.executable, "-m", "envparity", *arguments],
        capture_output=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr
    own, *children = log.read_text().splitlines(keepends=True)
    log.write_text("".join([own.partition("], [")[0], "\n", *children]))
    return done.stdout + done.stderr


def test_a_private_index_and_pypi_are_locked_built_and_verified_and_no_login_is_left_anywhere(
    tmp_path: Path,
) -> None:
    """
    The usual company: its own packages on its own index, all others from PyPI; the lock goes into the repository. No
    password is in a layer, a configuration, a document beside the image, the lock, the cache, the folder of a
    Dockerfile, or in what `ps` shows.
    """
    uv, venv, out = needs_uv(), tmp_path / "train", tmp_path / "out"
    own = pack(tmp_path, {"corpdemo/__init__.py": b"answer = 42\n"}, file_name="corpdemo-1.0-py3-none-any.whl")
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, venv], check=True)
    login = {"ENVPARITY_INDEX_CORP_USERNAME": USER, "ENVPARITY_INDEX_CORP_PASSWORD": SECRET}
    cache = {"ENVPARITY_CACHE_DIR": str(out / "cache")}
    out.mkdir()
    with private_index(own, form="text/html") as index, serving(Fake(gate=wants_basic("eve", PUSH))) as registry:
        pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "-q", "--no-cache-dir"]
        subprocess.run([*pip, "--extra-index-url", index.with_login, "corpdemo==1.0", "six==1.17.0"], check=True)
        envparity("snapshot", f"venv:{venv}", "-o", "model.env.json", cwd=out)
        corp = ("--index", f"corp={index.root}")
        refused("lock", "model.env.json", *corp, status=3, says="answers 401", cwd=out, **cache)
        locking = ("lock", "model.env.json", *corp, "--prove", "--require", "proven", "-v")
        locking += ("--index-for", "corpdemo=corp", "--index-for", "corpdmeo=corp")
        said = started(1, *locking, cwd=out, **cache, **login)
        digest = hashlib.sha256(own.read_bytes()).hexdigest()
        (out / "cache" / "blobs" / "sha256" / digest[:2] / digest).unlink()
        logged_in(tmp_path, registry.host, "eve", PUSH)
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {SECRET}\n")
        (tmp_path / "netrc").chmod(0o600)
        known = {"NETRC": str(tmp_path / "netrc"), "DOCKER_CONFIG": str(tmp_path)}
        building = ("build", "pylock.toml", "--output", registry.reference, "--output", "oci:image", "-v")
        building += ("--output", "docker-archive:image.tar", "-t", "corp:1")
        said += started(2, *building, "--attach", "all", cwd=out, **cache, **known)
        planned = envparity("build", "pylock.toml", "--plan", "--format", "json", cwd=out, **cache, **known)
        said += (planned.stdout + planned.stderr).encode()
        said += started(3, "dockerfile", "pylock.toml", "-o", "docker", cwd=out, **cache, **known)
        envparity("verify", "oci:image", "--against", "pylock.toml", cwd=out, **cache)

    explained = json.loads(envparity("lock", "pylock.toml", "--explain", "--format", "json", cwd=out).stdout)
    assert explained["counts"] == {"proven": 2}
    assert b"not locked, though `--index-for` names it: corpdmeo=corp\n" in said  # else its real name may be anybody's
    lock = (out / "pylock.toml").read_text()
    assert f'index = "{index.root}"' in lock
    assert 'index = "https://pypi.org/simple/"' in lock
    dockerfile = (out / "docker" / "Dockerfile").read_text()
    assert "\nENV NETRC=/run/secrets/netrc\n" in dockerfile
    assert "\nRUN --mount=type=secret,id=netrc [" in dockerfile
    assert f"\n--extra-index-url {index.root}\n" in (out / "docker" / "requirements.txt").read_text()
    with tarfile.open(out / "image.tar") as archive:
        archived = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        kept = {name: stream.read() for name, stream in archived.items() if stream is not None}
    pushed = {**kept, **registry.blobs, **{name: data for name, (data, _) in registry.tags.items()}}
    unpacked = {name: gzip.decompress(data) for name, data in pushed.items() if data.startswith(b"\x1f\x8b")}
    assert unpacked
    held = [("said", said), *everything(out), *pushed.items(), *unpacked.items()]
    pairs = (f"{USER}:{SECRET}".encode(), f"eve:{PUSH}".encode())
    for canary in (SECRET.encode(), PUSH.encode(), *map(base64.b64encode, pairs)):
        assert [name for name, data in held if canary in data] == []
