"""The folder of a Dockerfile, without a network: what is in it, what it may take the place of, what cannot be said."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from envparity import build, dockerfile, preparation
from envparity.errors import RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.image import app
from envparity.image.dockerfile import MARKER, added, files
from envparity.image.options import options
from envparity.values import Options
from tests.image.test_against_rebuilt import on_image
from tests.oci import hostile
from tests.test_build import lock_of, offline, wheel
from tests.tools import needs_tool

NASTY = ('GREETING=$HOME \\ "hi" #1', "PLACE=it's \\ $HOME", "LAST=1")
"""What a builder fills in, and what ends a word, unless it is quoted."""


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return offline(tmp_path / "cache")


def a_request(folder: Path, *env: str) -> build.Request:
    """An application with a variable or two."""
    (folder / "app" / "pkg").mkdir(parents=True, exist_ok=True)
    (folder / "app" / "serve.py").write_text("print('ready')\n")
    (folder / "app" / "pkg" / "serve.py").unlink(missing_ok=True)
    (folder / "app" / "pkg" / "serve.py").symlink_to("../serve.py")
    chosen = options(env=env, user="10001:10001", ports=(8080,), entrypoint="python -u '$HOME/a \"b\"'")
    return build.Request(lock_of(folder / "lock"), app=folder / "app", options=chosen)


def held(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def test_it_holds_layers_texts_and_the_application_and_hadolint_has_nothing_to_say(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    place = tmp_path / "made" / "docker"
    dockerfile.write(a_request(tmp_path, *NASTY), place, vendor=True, fetcher=fetcher)
    said = subprocess.run(
        [needs_tool("hadolint"), "--no-color", place / "Dockerfile"], capture_output=True, text=True, check=False
    )

    text = (place / "Dockerfile").read_text()
    assert sorted(path.name for path in place.iterdir()) == [
        ".dockerignore", MARKER, "Dockerfile", "app", "base.tar.gz", "packages.txt", "papers", "python.tar.gz"
    ]  # fmt: skip
    assert (place / "app" / "pkg" / "serve.py").readlink() == Path("../serve.py")
    assert (said.stdout, said.returncode) == ("", 0)
    assert """GREETING='$HOME \\ "hi" #1'""" in text
    assert """PLACE='it'"'"'s \\ $HOME'""" in text
    assert '\nEXPOSE 8080/tcp\nENTRYPOINT ["python", "-u", "$HOME/a \\"b\\""]\n' in text
    assert "USER 10001:10001" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 120


def test_the_same_lock_gives_the_same_folder_and_takes_the_place_of_its_older_self(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    request = a_request(tmp_path)
    dockerfile.write(request, tmp_path / "one", vendor=False, fetcher=fetcher)
    dockerfile.write(request, tmp_path / "two", vendor=False, fetcher=fetcher)
    before = held(tmp_path / "one")
    dockerfile.write(a_request(tmp_path, "MORE=1"), tmp_path / "one", vendor=False, fetcher=fetcher)

    after = held(tmp_path / "one")
    assert before == held(tmp_path / "two")
    assert {name for name in before if before[name] != after[name]} == {"Dockerfile", MARKER}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("envparity-")] == []


@pytest.mark.parametrize("name", ["Dockerfile", "packages.txt", "notes.txt", "app/serve.py"])
def test_what_a_person_changed_there_is_not_lost(name: str, tmp_path: Path, fetcher: Fetcher) -> None:
    request, place = a_request(tmp_path), tmp_path / "docker"
    dockerfile.write(request, place, vendor=False, fetcher=fetcher)
    with (place / name).open("a") as stream:
        stream.write("# mine\n")
    before = held(place)

    with pytest.raises(RefusedError) as caught:
        dockerfile.write(request, place, vendor=False, fetcher=fetcher)

    assert [line.partition(":")[0] for line in caught.value.details] == [name]
    assert held(place) == before


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, fetcher: Fetcher) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "thesis.tex").write_text("years of work\n")
    (tmp_path / "file").touch()

    for place, says in ((tmp_path / "docker", "was not written by"), (tmp_path / "file", "is not a folder")):
        with pytest.raises(UsageError, match=says):
            dockerfile.write(a_request(tmp_path), place, vendor=False, fetcher=fetcher)
    assert held(tmp_path / "docker") == {"thesis.tex": b"years of work\n"}


def test_a_folder_inside_of_the_application_does_not_go_into_the_image(tmp_path: Path, fetcher: Fetcher) -> None:
    """Else each time that it is written makes it larger."""
    request = a_request(tmp_path)
    before = app.app_digest(tmp_path / "app")
    dockerfile.write(request, tmp_path / "app" / "docker", vendor=False, fetcher=fetcher)

    assert app.app_digest(tmp_path / "app") == before
    assert "`docker`" in app.left_out(tmp_path / "app")


def test_the_folders_are_those_of_the_image_whatever_the_umask(tmp_path: Path, fetcher: Fetcher) -> None:
    """The builder copies modes: what only its maker may enter, no server could read."""
    request = a_request(tmp_path)
    before = os.umask(0o077)
    try:
        dockerfile.write(request, tmp_path / "docker", vendor=True, fetcher=fetcher)
    finally:
        os.umask(before)

    modes = {
        path.relative_to(tmp_path / "docker").as_posix(): path.stat().st_mode & 0o777
        for top in ("app", "papers")
        for path in (tmp_path / "docker" / top, *(tmp_path / "docker" / top).rglob("*"))
    }
    assert set(modes.values()) == {0o755, 0o644}
    assert modes["papers/pylock.artifacts"] == 0o755


def test_a_value_that_no_dockerfile_can_hold_is_refused_before_anything_is_written(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    with pytest.raises(RefusedError, match="cannot hold the value"):
        dockerfile.write(a_request(tmp_path, "A=two\nlines"), tmp_path / "docker", vendor=False, fetcher=fetcher)

    assert not (tmp_path / "docker").exists()


def test_the_marker_names_every_file_by_its_digest(tmp_path: Path, fetcher: Fetcher) -> None:
    place = tmp_path / "docker"
    dockerfile.write(a_request(tmp_path), place, vendor=False, fetcher=fetcher)

    assert json.loads((place / MARKER).read_bytes())["files"] == {
        name: "" if (place / name).is_symlink() else hashlib.sha256(data).hexdigest()
        for name, data in held(place).items()
        if name != MARKER
    }


def test_a_base_with_a_device_is_refused_where_it_would_have_to_come_along(tmp_path: Path, fetcher: Fetcher) -> None:
    lock = on_image(tmp_path / "lock", hostile.header(b"dev/null", b"3"))

    with pytest.raises(UnsupportedError, match="`/dev/null`, a device") as caught:
        dockerfile.write(build.Request(lock), tmp_path / "docker", vendor=True, fetcher=fetcher)
    assert "--base registry:" in (caught.value.hint or "")
    assert not (tmp_path / "docker").exists()


def test_what_is_left_out_is_what_the_plan_says(tmp_path: Path, fetcher: Fetcher) -> None:
    contents = {
        "demo/__init__.py": b"",
        "demo/tests/test_demo.py": b"x = 1\n",
        "demo/docs/index.rst": b"Words\n",
        "demo/lib/libdemo.a": b"!<arch>\nobjects",
    }
    demo = wheel(tmp_path, "demo", contents, fetcher)
    request = build.Request(lock_of(tmp_path / "lock", demo), options=Options(strip=("tests", "static")))
    told = build.planned(request, fetcher=fetcher)
    ready = preparation.prepared(request, fetcher=fetcher)
    blobs = dict.fromkeys(added(ready.plan), tmp_path)
    (sheet,) = (
        member
        for member in files(ready.plan, ready.supplies, blobs, [tmp_path], vendor=True)
        if member.path == "stripped/demo-1.0.csv"
    )

    assert sheet.open is not None
    rows = list(csv.reader(sheet.open().read().decode().splitlines()))
    assert [(path, int(size)) for path, _, size in rows] == [("demo/lib/libdemo.a", 15), ("demo/tests/test_demo.py", 6)]
    assert {kind: size for kind, size in told.unserved if kind in told.strip} == {"tests": 6, "static": 15}
