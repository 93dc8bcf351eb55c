"""Canaries: a password that any input holds is in nothing that a command prints or writes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import keys
from tests.cli.conftest import World, keep
from tests.commands import envparity
from tests.serving import plain, serving
from tests.tools import needs_tool
from tests.wheels import JSON

CANARIES = {
    name: f"canary-{name}-5up3rs3cr3t" for name in ("index", "direct", "variable", "requirements", "proxy", "key")
}


@pytest.fixture
def venv(world: World, tmp_path: Path) -> Path:
    """The small environment, with a second distribution that came from an address with a password."""
    place = world.copy(world.venv, tmp_path)
    (packages,) = place.glob("lib/python3*/site-packages")
    info = packages / "private-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: private\nVersion: 1.0\n")
    url = f"https://ada:{CANARIES['direct']}@git.example/private-1.0-py3-none-any.whl?token={CANARIES['direct']}"
    (info / "direct_url.json").write_text(json.dumps({"url": url, "archive_info": {}}))
    return place


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file by name and content, and what is below gzip too."""
    for path in folder.rglob("*"):
        yield str(path), str(path.relative_to(folder)).encode()
        if path.is_file():
            data = path.read_bytes()
            yield str(path), data
            if data.startswith(b"\x1f\x8b"):
                yield str(path), gzip.decompress(data)


def test_no_command_prints_or_writes_a_secret(world: World, venv: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    cache = out / "cache"
    keep(cache, world.wheel)
    (tmp_path / "requirements.txt").write_text(
        f"--index-url https://ada:{CANARIES['requirements']}@index.example/simple\n"
        f"--extra-index-url https://{CANARIES['requirements']}@index.example/simple\n"
        f"demo==2.0\nprivate @ https://ada:{CANARIES['requirements']}@git.example/p-1.0-py3-none-any.whl\n"
    )
    sealed = tmp_path / "sealed.pem"
    seal = ["pkcs8", "-topk8", "-in", str(keys.pair(tmp_path)[0]), "-out", str(sealed), "-passout", "env:SEAL"]
    subprocess.run([needs_tool("openssl"), *seal], check=True, env={**os.environ, "SEAL": CANARIES["key"]})
    variables = {
        "AWS_SECRET_ACCESS_KEY": CANARIES["variable"],
        "PIP_INDEX_URL": f"https://{CANARIES['variable']}@index.example/simple",
        "MY_TOKEN": CANARIES["variable"],
        "ENVPARITY_CACHE_DIR": str(cache),
    }
    file = {
        "filename": world.wheel.name,
        "url": "/demo.whl",
        "hashes": {"sha256": hashlib.sha256(world.wheel.read_bytes()).hexdigest()},
        "size": world.wheel.stat().st_size,
    }
    page = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": [file]}).encode()
    with serving({"/simple/demo/": [plain(page, content_type=JSON)], "/bad/demo/": [plain(b"", 403)]}) as served:
        host = served.url.removeprefix("http://")
        private = f"http://ada:{CANARIES['index']}@{host}"
        gone = f"http://ada:{CANARIES['proxy']}@127.0.0.1:9"
        commands: list[tuple[tuple[str | Path, ...], dict[str, str]]] = [
            (("snapshot", f"venv:{venv}", "-o", "private.env.json"), {}),
            (("show", "private.env.json", "-v"), {}),
            (("show", tmp_path / "requirements.txt", "-v"), {}),
            (("show", tmp_path / "requirements.txt", "--format", "json", "-o", "requirements.env.json"), {}),
            (("diff", "private.env.json", tmp_path / "requirements.txt", "-v", "-o", "report.txt"), {}),
            (("diff", "private.env.json", tmp_path / "requirements.txt", "--format", "json"), {}),
            (("lock", "private.env.json", "--index", f"{private}/simple/"), {}),
            (("lock", world.snapshot, "--index", f"{private}/bad/", "--debug"), {}),
            (("lock", world.snapshot, "--index", f"{private}/simple/", "--base", "nonsense", "-v"), {}),
            (("lock", world.snapshot, "--index", f"ftp://ada:{CANARIES['index']}@{host}/"), {}),
            (("lock", world.snapshot, "--offline", "--debug", "--index", f"{private}/simple/"), {"HTTP_PROXY": gone}),
            (("show", f"https://ada:{CANARIES['index']}@{host}/model.env.json"), {}),
            (
                ("build", world.lock, "--output", "oci:image", "--attach", "all", "--sign-key", sealed),
                {"COSIGN_PASSWORD": CANARIES["key"]},
            ),
        ]
        for arguments, more in commands:
            done = envparity(*arguments, status=None, cwd=out, **variables, **more)

            for name, canary in CANARIES.items():
                assert canary not in done.stdout + done.stderr, f"{name}: {arguments}\n{done.stdout}\n{done.stderr}"

    for place, data in everything(out):
        for name, canary in CANARIES.items():
            assert canary.encode() not in data, f"{name}: {place}"
    assert (out / "private.env.json").exists()
    assert (out / "report.txt").exists()
    assert len(json.loads((out / "image" / "index.json").read_text())["manifests"]) == 8


def test_the_name_of_a_variable_is_recorded_and_its_value_is_not(world: World, tmp_path: Path) -> None:
    done = envparity("snapshot", f"venv:{world.venv}", "-q", MY_TOKEN=CANARIES["variable"], OMP_NUM_THREADS="3")

    settings = json.loads(done.stdout)["settings"]
    assert "MY_TOKEN" in settings["names_only"]
    assert {"name": "OMP_NUM_THREADS", "value": "3"} in settings["variables"]
    digest = hashlib.sha256(CANARIES["variable"].encode()).hexdigest()
    assert digest not in done.stdout
