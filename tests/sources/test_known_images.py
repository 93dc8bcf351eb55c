"""An image that this machine has read is not read again, unless image or code is another one."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from envparity.sources import Options, read
from envparity.sources.known_images import reading_code
from envparity.values import Environment
from tests.oci import hostile
from tests.oci.registry import filled, serving

RELEASE = hostile.tar(hostile.file("etc/os-release", b'ID=debian\nVERSION_ID="12"\n'))
OTHER = hostile.tar(hostile.file("etc/os-release", b'ID=debian\nVERSION_ID="13"\n'))


def options(folder: Path, **more: bool) -> Options:
    return Options(environ={"ENVPARITY_CACHE_DIR": str(folder / "cache")}, **more)  # type: ignore[arg-type]


def timeless(environment: Environment) -> Environment:
    return msgspec.structs.replace(environment, origin=msgspec.structs.replace(environment.origin, taken_at=""))


def test_the_second_time_an_image_is_known_and_only_its_tag_is_asked_for(tmp_path: Path) -> None:
    with serving(filled(tmp_path, RELEASE)) as fake:
        first = read(fake.reference, options=options(tmp_path))
        before = len(fake.paths)
        again = read(fake.reference, options=options(tmp_path))

    assert timeless(again) == timeless(first)
    assert again.system is not None
    assert fake.paths[before:] == ["/v2/", "manifests/1"]


def test_another_image_under_the_same_tag_is_another_one(tmp_path: Path) -> None:
    found = []
    for layer in (RELEASE, OTHER):
        folder = tmp_path / hostile.digest(layer)[7:]
        folder.mkdir()
        with serving(filled(folder, layer)) as fake:
            environment = read(fake.reference, options=options(tmp_path))
            found.append(environment.system.version_id if environment.system else None)

    assert found == ["12", "13"]


def test_what_was_noted_of_an_image_and_is_damaged_is_found_out(tmp_path: Path) -> None:
    with serving(filled(tmp_path, RELEASE)) as fake:
        first = read(fake.reference, options=options(tmp_path))
        for blob in (tmp_path / "cache").rglob("blobs/sha256/*/*"):
            blob.write_bytes(blob.read_bytes().replace(b"debian", b"evil!!"))
        again = read(fake.reference, options=options(tmp_path))

    assert timeless(again) == timeless(first)


def test_with_other_code_an_image_is_read_anew(tmp_path: Path) -> None:
    """A collector that was mended must not be answered for by what it said before."""
    module = tmp_path / "collectors" / "module.py"
    module.parent.mkdir()
    module.write_text("one = 1\n")
    os.utime(module, (1, 1))
    told = [reading_code(tmp_path)]
    assert reading_code(tmp_path) == told[0]

    os.utime(module, (2, 2))
    told.append(reading_code(tmp_path))
    module.write_text("one = 10\n")
    os.utime(module, (2, 2))
    told.append(reading_code(tmp_path))
    module.rename(tmp_path / "module.py")
    told.append(reading_code(tmp_path))

    assert len(set(told)) == 4
