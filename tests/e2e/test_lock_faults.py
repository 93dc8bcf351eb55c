"""
What an index, or a file of somebody else, does to the real command: a local index, a real base, and the exit status
that a script sees. The numbers are those of the list of faults, group B.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envparity.cache import Cache
from tests.commands import envparity, refused
from tests.wheels import LocalIndex, local_index, pack, serve

pytestmark = pytest.mark.xdist_group("lock-faults")  # one worker asks for the archive's lists

NEWER_GLIBC = "demo-1.0-cp311-cp311-manylinux_2_38_x86_64.whl"
BASE = ("--base", "debian:bookworm", "--platform", "linux/amd64")


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with local_index() as served:
        yield served


def listed(index: LocalIndex, name: str, data: bytes = b"x", **more: object) -> str:
    """The page of `demo` with one file of this name; its sha256."""
    digest = hashlib.sha256(data).hexdigest()
    url, size = f"{index.address}/files/{name}", len(data)
    index.project("demo", {"filename": name, "url": url, "size": size, "hashes": {"sha256": digest}, **more})
    index.file(f"/files/{name}", data)
    return digest


def downloads(index: LocalIndex) -> list[str]:
    return [path for path, _ in index.asked if path.startswith("/files/")]


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        (NEWER_GLIBC, {}, "glibc 2.36); there are those for cp311-cp311-manylinux_2_38_x86_64"),
        ("demo-1.0-cp312-abi3-manylinux1_x86_64.whl", {}, "Python 3.11.2 on debian:bookworm"),
        ("demo-1.0-cp311-cp311t-manylinux1_x86_64.whl", {}, "there are those for cp311-cp311t-manylinux1_x86_64"),
        ("demo-1.0-py3-none-any.whl", {"requires-python": ">=3.12"}, "needs Python >=3.12"),
    ],
    ids=["glibc", "python", "abi", "requires-python"],
)
def test_44_what_is_for_another_place_is_refused_before_any_download(
    name: str, more: dict[str, object], says: str, index: LocalIndex, tmp_path: Path
) -> None:
    digest = listed(index, name, **more)
    (tmp_path / "requirements.txt").write_text(f"demo==1.0 --hash=sha256:{digest}\n")
    lock = ("lock", "requirements.txt", "--index", index.root, *BASE)
    done = refused(*lock, status=1, says="cannot be locked", cwd=tmp_path)

    assert says in done.stderr
    assert "demo 1.0: " in done.stderr
    assert downloads(index) == []
    assert not (tmp_path / "pylock.toml").exists()


def test_46_what_there_is_as_an_sdist_alone_is_refused_before_anything_is_built(
    index: LocalIndex, tmp_path: Path
) -> None:
    listed(index, "demo-1.0.tar.gz")
    (tmp_path / "requirements.txt").write_text("demo==1.0\n")
    done = refused("lock", "requirements.txt", "--index", index.root, *BASE, status=1, says="1 dist", cwd=tmp_path)

    assert "demo 1.0: has only an sdist on the index, and nothing is built here" in done.stderr
    assert "pip wheel --no-deps --wheel-dir dist demo==1.0" in done.stderr
    assert downloads(index) == []


@pytest.mark.parametrize("content", ["demo\n", "demo==1.0\n", f"demo==1.0 --hash=sha256:{'a' * 64}\n"])
def test_47_requirements_are_no_lock_and_build_says_which_command_makes_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(content)
    done = refused("build", "requirements.txt", "--output", "oci:image", status=2, says="requirements", cwd=tmp_path)

    assert "envparity lock requirements.txt" in done.stderr
    assert not (tmp_path / "image").exists()


@pytest.fixture
def locked(index: LocalIndex, tmp_path: Path) -> tuple[LocalIndex, Path, Path]:
    """A lock of `demo`, the index that it is from, and its wheel, of which nobody else's cache knows anything."""
    path = pack(tmp_path, {"demo/__init__.py": f"made = {str(tmp_path)!r}, {time.time_ns()}\n".encode()})
    serve(index, path)
    (tmp_path / "requirements.txt").write_text("demo==1.0\n")
    envparity("lock", "requirements.txt", "--index", index.root, *BASE, cwd=tmp_path)
    Cache().forget(hashlib.sha256(path.read_bytes()).hexdigest())
    return index, tmp_path, path


def promised(folder: Path, path: Path) -> str:
    """The line of the lock that promises the file, as an error names it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = (folder / "pylock.toml").read_text().splitlines()
    return f"at line {next(number for number, line in enumerate(lines, start=1) if digest in line)} of the lock"


def test_an_index_that_only_the_requirements_name_is_told_and_not_asked(locked: tuple[LocalIndex, Path, Path]) -> None:
    """pip would ask there: what has this name on another index may be somebody else's."""
    index, folder, _ = locked
    own = f"--index-url {index.root}\n--extra-index-url https://me:secret@packages.example/simple\n"
    (folder / "requirements.txt").write_text(f"{own}demo==1.0\n")
    lock = ("lock", "requirements.txt", *BASE, "--index")

    done = envparity(*lock, index.root, cwd=folder)

    assert "not asked, though the source names them (`--index NAME=URL` does):" in done.stderr
    assert "packages.example/simple" in done.stderr
    assert index.root not in done.stderr
    assert "secret" not in done.stderr


def test_45_a_file_that_was_deleted_is_unreachable_and_named(locked: tuple[LocalIndex, Path, Path]) -> None:
    """Its address, its lock and how to go on; and nothing of an image."""
    index, folder, path = locked
    del index.answers[f"/files/{path.name}"]
    done = refused("build", "pylock.toml", "--output", "oci:image", status=3, says="demo", cwd=folder)

    assert f"{index.address}/files/{path.name}" in done.stderr
    assert "404" in done.stderr
    assert "--repack demo" in done.stderr
    assert promised(folder, path) in done.stderr
    assert not (folder / "image").exists()


def test_45_a_file_that_was_changed_under_its_name_is_an_integrity_error(
    locked: tuple[LocalIndex, Path, Path],
) -> None:
    index, folder, path = locked
    data = path.read_bytes()
    index.file(f"/files/{path.name}", data[:-1] + bytes([data[-1] ^ 1]))
    done = refused("build", "pylock.toml", "--output", "oci:image", status=5, says="demo", cwd=folder)

    assert f"{index.address}/files/{path.name}" in done.stderr
    assert promised(folder, path) in done.stderr


def test_45_a_yanked_version_is_locked_with_the_reason_and_what_is_attested_of_it_is_noted(
    index: LocalIndex, tmp_path: Path
) -> None:
    path = pack(tmp_path, {"demo/__init__.py": b"answer = 42\n"})
    listed(index, path.name, path.read_bytes(), yanked="broken on Tuesdays", provenance="/integrity/demo")
    (tmp_path / "requirements.txt").write_text("demo==1.0\n")
    done = envparity("lock", "requirements.txt", "--index", index.root, *BASE, "--explain", cwd=tmp_path)
    later = envparity("lock", "pylock.toml", "--explain", "-v", cwd=tmp_path)

    assert "attested: 1 of 1 have attestations on their index (PEP 740), not checked here" in done.stdout
    assert f"attested   {index.address}/integrity/demo" in later.stdout
    assert "yanked: demo 1.0: broken on Tuesdays" in done.stderr
