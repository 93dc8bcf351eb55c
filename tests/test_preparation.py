"""What an image is made of: what a lock says where nobody says otherwise."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from envparity import lockfile, preparation
from envparity.errors import UnsupportedError
from tests.test_build import lock_of


def served_by(folder: Path, server: str) -> Path:
    path = lock_of(folder)
    lock, _ = lockfile.read(path)
    snapshot = (lockfile.artifacts_folder(path) / lock.snapshot.name).read_bytes()
    named = msgspec.structs.replace(lock, serve=server)
    lockfile.write(lockfile.Recovered(named, {lock.snapshot.name: snapshot}), path)
    return path


def test_an_image_serves_as_its_lock_was_made_for_unless_its_builder_says_otherwise(tmp_path: Path) -> None:
    path = served_by(tmp_path / "served", "fastapi")

    said = {stated: preparation.server_of(path, stated) for stated in (None, "none", "mlserver")}

    assert said == {None: "fastapi", "none": "", "mlserver": "mlserver"}
    assert preparation.server_of(lock_of(tmp_path / "plain"), None) == ""


def test_a_server_that_a_newer_version_knows_is_refused_with_the_way_on(tmp_path: Path) -> None:
    path = served_by(tmp_path, "triton")

    with pytest.raises(UnsupportedError, match="`triton`, which this version does not know") as caught:
        preparation.server_of(path, None)

    assert "--serve" in caught.value.hint
    assert preparation.server_of(path, "none") == ""
