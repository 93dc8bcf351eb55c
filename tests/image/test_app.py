"""The application folder: all of it that can be shipped goes in, and what does not is said."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from envparity.errors import MalformedError, RefusedError, UsageError
from envparity.image import app
from tests.tools import by_nobody


def test_files_folders_and_links_go_in_with_plain_modes(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir(mode=0o700)
    (tmp_path / "pkg" / "serve.py").write_text("x = 1\n")
    (tmp_path / "start").write_text("#!/bin/sh\n")
    (tmp_path / "start").chmod(0o700)
    (tmp_path / "serve.py").symlink_to("pkg/serve.py")

    assert [(entry.path, entry.kind, entry.mode) for entry in app.app_entries(tmp_path)] == [
        ("opt/app", "folder", 0o755),
        ("opt/app/pkg", "folder", 0o755),
        ("opt/app/pkg/serve.py", "file", 0o644),
        ("opt/app/serve.py", "link", 0o777),
        ("opt/app/start", "file", 0o755),
    ]


def test_a_folder_that_may_not_be_read_is_no_empty_folder() -> None:
    """An image without it would be built, and fail when it serves."""

    def pack(folder: Path) -> object:
        (folder / "private").mkdir()
        (folder / "private" / "needed.py").touch()
        (folder / "private").chmod(0)
        return app.app_entries(folder)

    answer = by_nobody(pack)

    assert answer.startswith("UnreachableError: cannot read the application")
    assert "private" in answer


def test_a_file_that_may_not_be_read_is_named() -> None:
    def pack(folder: Path) -> object:
        (folder / "serve.py").touch(mode=0)
        return app.app_digest(folder)

    answer = by_nobody(pack)

    assert answer.startswith("UnreachableError: cannot read the application")
    assert "serve.py" in answer


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.py")).touch()
    (tmp_path / "link").symlink_to(os.fsdecode(b"\xff.py"))

    with pytest.raises(RefusedError, match="must not be shipped") as caught:
        app.app_digest(tmp_path)

    assert [line.partition(": ")[2] for line in caught.value.details] == [
        "a link to a name that is not UTF-8",
        "a name that is not UTF-8",
    ]
    assert "\\udcff.py" in caught.value.details[1]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    """Who reads settings from `.env` learns here, and not when it serves, that the image has none."""
    for name in ("a/__pycache__", "b/__pycache__", ".git"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("serve.py", ".env", "a/x.py", "a/__pycache__/x.cpython-311.pyc", "b/old.pyc", ".git/HEAD"):
        (tmp_path / name).touch()

    assert app.left_out(tmp_path) == "`.env`, `.git`, `__pycache__` (2 places)"
    assert [entry.path for entry in app.app_entries(tmp_path) if entry.kind == "file"] == [
        "opt/app/a/x.py",
        "opt/app/serve.py",
    ]


def test_a_virtual_environment_stays_out_whatever_it_is_called(tmp_path: Path) -> None:
    """`--app .` where the model was trained: its environment is in the image already, as the lock has it."""
    (tmp_path / "serve.py").touch()
    (tmp_path / "train" / "bin").mkdir(parents=True)
    (tmp_path / "train" / "pyvenv.cfg").touch()
    (tmp_path / "train" / "bin" / "python").symlink_to("/usr/bin/python3")

    assert [entry.path for entry in app.app_entries(tmp_path)] == ["opt/app", "opt/app/serve.py"]
    assert app.left_out(tmp_path) == "`train`"


def test_nothing_left_out_is_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "serve.py").touch()

    assert app.left_out(tmp_path) == ""


def test_what_must_not_be_shipped_is_named_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "itself").symlink_to("itself")
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(RefusedError) as caught:
        app.app_entries(tmp_path)

    assert [line.partition(":")[0] for line in caught.value.details] == ["fifo", "itself", "key.pem", "out"]


def test_a_file_is_no_application(tmp_path: Path) -> None:
    (tmp_path / "serve.py").touch()

    with pytest.raises(UsageError, match="not a folder"):
        app.app_entries(tmp_path / "serve.py")


def test_what_envparity_wrote_into_the_folder_does_not_go_in(tmp_path: Path) -> None:
    """`--app .` beside the lock: with the last image in it, each build would be larger, and another one."""
    (tmp_path / "serve.py").touch()
    (tmp_path / "pylock.toml").touch()
    (tmp_path / "model.env.json").touch()
    (tmp_path / "pylock.artifacts").mkdir()
    (tmp_path / "pylock.artifacts" / "cpython.tar.gz").touch()
    (tmp_path / "image" / "blobs").mkdir(parents=True)
    (tmp_path / "image" / "oci-layout").touch()

    assert [entry.path for entry in app.app_entries(tmp_path)] == ["opt/app", "opt/app/serve.py"]
    assert "`image`" in app.left_out(tmp_path)


def test_an_image_that_was_built_beside_the_application_is_not_shipped_with_it(tmp_path: Path) -> None:
    """`build --app . --output docker-archive:image.tar`, twice: each image would hold the one before."""
    (tmp_path / "serve.py").write_text("")
    before = app.app_digest(tmp_path)
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        for name in ("blobs/sha256/" + "a" * 64, "index.json", "oci-layout"):
            archive.addfile(tarfile.TarInfo(name))
    (tmp_path / ".image.lock").touch()
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("rows.csv"))

    shipped = {entry.path for entry in app.app_entries(tmp_path)}

    assert shipped == {"opt/app", "opt/app/serve.py", "opt/app/data.tar"}
    assert "`image.tar`" in app.left_out(tmp_path)
    (tmp_path / "data.tar").unlink()
    assert app.app_digest(tmp_path) == before


def test_a_dockerignore_is_honoured_and_said(tmp_path: Path) -> None:
    """Whoever moves here from a Dockerfile has said there already what must not be shipped."""
    for name in ("app.py", "notes.md", "data/big.csv", "data/keep.csv", "deep/er/test_x.py", "key.pem"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / ".dockerignore").write_text("# ours\n*.md\n/data\n!data/keep.csv\n**/test_?.py\n[a-k]*.pem\n")

    names = [entry.path.removeprefix("opt/app/") for entry in app.app_entries(tmp_path)[1:]]

    assert names == [".dockerignore", "app.py", "data", "data/keep.csv", "deep", "deep/er"]
    assert app.left_out(tmp_path) == "4 by `.dockerignore`"


def test_an_exception_brings_no_secret_back(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    (tmp_path / ".dockerignore").write_text("*\n!.env\n")

    assert [entry.path for entry in app.app_entries(tmp_path)] == ["opt/app"]


def test_a_line_of_a_dockerignore_that_is_no_pattern_is_named(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("good\n[bad\n")

    with pytest.raises(MalformedError, match="line 2"):
        app.app_entries(tmp_path)


def test_what_tools_keep_logins_in_stays_out(tmp_path: Path) -> None:
    (tmp_path / "serve.py").touch()
    for folder in (".aws", ".kube", ".huggingface"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config").touch()
    for name in (".netrc", ".git-credentials", "kaggle.json", "application_default_credentials.json"):
        (tmp_path / name).touch()

    assert [entry.path for entry in app.app_entries(tmp_path)] == ["opt/app", "opt/app/serve.py"]
    assert all(f"`{path.name}`" in app.left_out(tmp_path) for path in tmp_path.iterdir() if path.name != "serve.py")


def test_variables_of_every_stage_stay_out_and_keys_of_every_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "serve.py").touch()
    for name in (".env", ".env.production"):
        (tmp_path / name).write_text("PASSWORD=hunter2\n")

    assert [entry.path for entry in app.app_entries(tmp_path)] == ["opt/app", "opt/app/serve.py"]
    assert app.left_out(tmp_path) == "`.env`, `.env.production`"

    armours = ("PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK")
    armoured = [f"-----BEGIN {kind}-----\n" for kind in (*armours, "ENCRYPTED SIGSTORE PRIVATE KEY")]
    for text in (*armoured, "PuTTY-User-Key-File-3: ssh-ed25519\n", "AGE-SECRET-KEY-1QQ\n"):
        (tmp_path / "key").write_text(text)
        with pytest.raises(RefusedError) as caught:
            app.app_entries(tmp_path)
        assert caught.value.details == ("key: a private key",)
