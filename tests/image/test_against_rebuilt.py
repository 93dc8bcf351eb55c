"""An image that says that a Dockerfile of ours made it, held against its lock; its layers are anybody's."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import build, lockfile, preparation
from envparity.fetch import Fetcher
from envparity.image.against_rebuilt import against_rebuilt
from envparity.image.dockerfile import BUILDER
from envparity.image.findings import Evidence
from envparity.oci.entries import Entry
from envparity.oci.places import open_image
from envparity.oci.tree import merge
from envparity.values import BaseLayer, LockedImage, LockedInterpreter, Options
from tests.e2e.tampering import Change, tampered
from tests.oci import hostile
from tests.oci.made import file
from tests.test_build import lock_of, offline, wheel


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return offline(tmp_path / "cache")


def changed_lock(path: Path, *, bytecode: str = "none", **target: Any) -> Path:
    """The same lock for another target."""
    lock, _ = lockfile.read(path)
    snapshot = (lockfile.artifacts_folder(path) / lock.snapshot.name).read_bytes()
    targets = (msgspec.structs.replace(lock.targets[0], **target),)
    changed = msgspec.structs.replace(lock, targets=targets, bytecode=bytecode)
    lockfile.write(lockfile.Recovered(changed, {lock.snapshot.name: snapshot}), path)
    return path


def evidence(
    request: build.Request, folder: Path, fetcher: Fetcher, changes: dict[int, Change], **config: object
) -> Evidence:
    """What is found of an image that is built, changed layer by layer, and says that it was made of a Dockerfile."""
    place = folder / "image"
    built = dataclasses.replace(request, outputs=(f"oci:{place}",), look=False)
    build.assemble(built, fetcher=fetcher)

    def name(document: dict[str, Any]) -> None:
        document["config"]["Labels"][BUILDER] = "dockerfile"
        document["config"].update(config)

    image = open_image(tampered(place, folder / "other", changes, config=name))
    supplies = preparation.prepared(request, fetcher=fetcher).supplies
    return against_rebuilt(image, merge(image), supplies, Options())


def on_image(folder: Path, *more: bytes) -> Path:
    """A lock on a base of two layers, of which the upper removes a file of the lower; which may have `more` members."""
    tars = (
        hostile.tar(hostile.file("etc/gone", b"gone"), hostile.file("etc/kept", b"kept"), *more),
        hostile.tar(hostile.file("etc/.wh.gone")),
    )
    path = lock_of(folder)
    layers = []
    for tar in tars:
        digest = hostile.digest(tar)
        layer = BaseLayer(digest=digest, diff_id=digest, size_bytes=len(tar), media_type=hostile.LAYER)
        layers.append(layer)
        (lockfile.artifacts_folder(path) / layer.artifact.name).write_bytes(tar)
    image = LockedImage(digest=hostile.digest(b"manifest"), layers=tuple(layers), glibc="2.36")
    return changed_lock(path, base=f"oci:@{image.digest}", image=image)


def items(found: Evidence) -> list[str]:
    return [finding.difference.item for finding in found.findings]


def test_a_base_counts_as_its_layers_give_it_together(tmp_path: Path, fetcher: Fetcher) -> None:
    """A file that the base itself removed must not be there again; nor may one of it be another."""
    request = build.Request(on_image(tmp_path / "lock"))
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()

    said = {"Image": "sha256:1", "Healthcheck": {"Test": ["NONE"]}}
    assert evidence(request, tmp_path / "good", fetcher, {}, **said).findings == ()
    changes: dict[int, Change] = {1: lambda entries: [file("etc/kept", b"other")]}
    assert items(evidence(request, tmp_path / "bad", fetcher, changes)) == ["/etc/gone", "/etc/kept"]


def test_a_file_more_and_another_start_are_found(tmp_path: Path, fetcher: Fetcher) -> None:
    """
    Of what pip writes by itself it is known what it holds: this program is another installer's. What the wheel carries
    of another distribution, and a program of its own, are what they are.
    """
    script = {"demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"}
    carried = {
        "demo/_vendor/other-2.0.dist-info/INSTALLER": b"uv\n",
        "demo/_vendor/other-2.0.dist-info/RECORD": b"other.py,,\n",
        "demo-1.0.data/scripts/own.py": b"#!python\nimport sys\nfrom demo import main\n\nif __name__ == '__main__':\n"
        b"    sys.exit(main())\n",
    }
    demo = wheel(tmp_path, "demo", {"demo/__init__.py": b"", **script, **carried}, fetcher)
    changes: dict[int, Change] = {0: lambda entries: [*entries, file("opt/env/lib/startup.pth", b"import os\n")]}
    found = evidence(
        build.Request(lock_of(tmp_path / "lock", demo)),
        tmp_path,
        fetcher,
        changes,
        Cmd=["-i"],
        Healthcheck={"Test": ["CMD", "true"]},
    )

    assert [item.rpartition("/")[2] for item in sorted(items(found))] == [
        *("demo", "INSTALLER", "startup.pth", "Cmd", "Healthcheck")
    ]


def test_byte_code_of_a_python_that_is_not_here_is_unread_and_more_than_that_is_found(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """Its builder was of another processor, and compiled with the image's own Python; we have another patch release."""
    (tmp_path / "app").mkdir()
    for name in ("one", "two"):
        (tmp_path / "app" / f"{name}.py").write_text("import json\n")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}.99"
    interpreter = LockedInterpreter(kind="base", version=version, executable="/usr/bin/python3")
    lock = changed_lock(
        lock_of(tmp_path / "lock"), platform="linux/s390x", interpreter=interpreter, bytecode="unchecked-hash"
    )
    request = build.Request(lock, app=tmp_path / "app", environ=dict(os.environ))

    def by_another(entries: list[Entry]) -> list[Entry]:
        more = file("opt/app/__pycache__/three.cpython-311.pyc", b"of no module")
        return [*(dataclasses.replace(it, content=b"x") if it.path.endswith(".pyc") else it for it in entries), more]

    found = evidence(request, tmp_path, fetcher, {2: by_another})

    assert items(found) == ["/opt/app/__pycache__/three.cpython-311.pyc"]
    assert [gap.reason.partition(" run in")[0] for gap in found.gaps] == ["2 byte-compiled files"]
