"""Building from a lock, without a network: what is kept, what is not, and what is refused before anything is packed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from envparity import build, lockfile
from envparity.cache import Cache
from envparity.errors import IntegrityError, RefusedError, UnsupportedError
from envparity.fetch import Fetcher
from envparity.image import layers
from envparity.image.app import app_digest
from envparity.image.contents import LAYOUT, Supplies
from envparity.network import Client
from envparity.oci.pack import current_packer
from envparity.values import (
    LockedArtifact,
    LockedDistribution,
    LockedInterpreter,
    LockedWheel,
    PlannedLayer,
    Step,
)
from tests.values import a_lock
from tests.wheels import pack

LARGE = os.urandom(9 << 20)
"""More than what makes a wheel a layer of its own."""


def offline(folder: Path) -> Fetcher:
    return Fetcher(Client(offline=True), Cache(folder))


def locked(wheel: Path, fetcher: Fetcher) -> LockedDistribution:
    """A wheel as a lock names it, in the cache as if it had been fetched."""
    data, name = wheel.read_bytes(), wheel.name.partition("-")[0]
    digest = hashlib.sha256(data).hexdigest()
    fetcher.cache.adopt([data], sha256=digest, size_bytes=len(data), what=name)
    url = f"https://index.example/{wheel.name}"
    found = LockedWheel(name=wheel.name, url=url, size_bytes=len(data), sha256=digest)
    return LockedDistribution(name=name, version="1.0", wheels=(found,), state="matched", import_names=(name,))


def wheel(folder: Path, name: str, contents: Mapping[str, bytes], fetcher: Fetcher) -> LockedDistribution:
    return locked(pack(folder, contents, file_name=f"{name}-1.0-py3-none-any.whl"), fetcher)


def lock_of(folder: Path, *distributions: LockedDistribution, layout: int = LAYOUT) -> Path:
    """The path of a lock of these distributions and of no OS packages: an image that runs nowhere."""
    snapshot = b"{}"
    digest = hashlib.sha256(snapshot).hexdigest()
    artifact = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(snapshot), sha256=digest)
    target = msgspec.structs.replace(
        a_lock().targets[0],
        interpreter=LockedInterpreter(kind="base", version="3.11.2", executable="/usr/bin/python3.11"),
        os_packages=(),
        substituted=(),
    )
    lock = a_lock(
        distributions=distributions,
        targets=(target,),
        snapshot=artifact,
        models=(),
        packer=msgspec.structs.replace(current_packer(), layout=layout),
    )
    folder.mkdir(parents=True, exist_ok=True)
    lockfile.write(lockfile.Recovered(lock, {artifact.name: snapshot}), folder / "pylock.toml")
    return folder / "pylock.toml"


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return offline(tmp_path / "cache")


def test_two_wheels_that_claim_one_file_are_refused_whatever_is_cached(tmp_path: Path, fetcher: Fetcher) -> None:
    """Each alone is fine, and its layer is kept; together they are refused, though nothing has to be packed."""
    one = wheel(tmp_path, "one", {"one/data": LARGE, "shared.py": b"A = 1\n"}, fetcher)
    two = wheel(tmp_path, "two", {"two/data": LARGE, "shared.py": b"A = 2\n"}, fetcher)
    for number, item in enumerate((one, two)):
        build.assemble(build.Request(lock_of(tmp_path / str(number), item)), fetcher=fetcher)

    with pytest.raises(RefusedError, match="different things to one path"):
        build.assemble(build.Request(lock_of(tmp_path / "both", one, two)), fetcher=fetcher)


def test_a_second_build_gives_the_same_image_from_kept_layers(tmp_path: Path, fetcher: Fetcher) -> None:
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))

    first = build.assemble(build.Request(path), fetcher=fetcher)
    again = build.assemble(build.Request(path), fetcher=fetcher)
    elsewhere = build.assemble(build.Request(path), fetcher=_other_cache(tmp_path, fetcher))

    assert first.image.digest == again.image.digest == elsewhere.image.digest


def _other_cache(folder: Path, fetcher: Fetcher) -> Fetcher:
    other = offline(folder / "other-cache")
    for place in (path for path in (fetcher.cache.folder / "blobs").rglob("*") if path.is_file()):
        data = place.read_bytes()
        other.cache.adopt([data], sha256=place.name, size_bytes=len(data), what=place.name)
    return other


def test_a_damaged_note_is_a_layer_made_again(tmp_path: Path, fetcher: Fetcher) -> None:
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    first = build.assemble(build.Request(path), fetcher=fetcher)
    notes = list((fetcher.cache.folder / "notes").iterdir())
    for note in notes:
        note.write_bytes(b'{"digest": "../../etc"')

    assert notes
    assert build.assemble(build.Request(path), fetcher=fetcher).image.digest == first.image.digest


def test_an_application_is_in_its_image_and_nowhere_else(tmp_path: Path, fetcher: Fetcher) -> None:
    """What no other image shares only fills the cache; and caches are copied to places where code should not be."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "serve.py").write_bytes(LARGE)
    (tmp_path / "app" / ".env").write_text("TOKEN=1\n")
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    request = build.Request(path, outputs=(f"oci:{tmp_path / 'image'}",), app=tmp_path / "app")

    built = build.assemble(request, fetcher=fetcher)

    kept = {place.name for place in (fetcher.cache.folder / "blobs").rglob("*")}
    (place,) = (place for descriptor, place in built.image.layers if descriptor.size_bytes > len(LARGE) // 2)
    (descriptor,) = (descriptor for descriptor, path in built.image.layers if path == place)
    assert not place.exists()
    assert descriptor.digest.removeprefix("sha256:") not in kept
    assert (tmp_path / "image" / "blobs" / descriptor.digest.replace(":", "/")).is_file()
    assert list((fetcher.cache.folder / "incoming").iterdir()) == []
    assert any("`.env`" in note for note in built.notes)


def test_a_lock_for_another_layout_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher), layout=LAYOUT + 1)

    with pytest.raises(UnsupportedError, match="layout") as caught:
        build.assemble(build.Request(path), fetcher=fetcher)

    assert "lock again" in caught.value.hint


def supplies(path: Path, *, models: Mapping[str, Path] = {}, app: Path | None = None) -> Supplies:
    lock, data = lockfile.read(path)
    return Supplies(lock, lock.targets[0], data, {}, models, app)


def test_a_model_that_changes_after_it_was_looked_at_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    """A training job that writes on while the image is made must not end in an image that says it has the old model."""
    (tmp_path / "model.joblib").write_bytes(b"new!")
    layer = PlannedLayer(step=Step.MODEL, title="m", inputs=("model.joblib", "4", hashlib.sha256(b"old!").hexdigest()))
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    at_hand = supplies(path, models={"model.joblib": tmp_path / "model.joblib"})

    with pytest.raises(IntegrityError, match=r"`model\.joblib` changed while it was built"):
        layers.packed(layer, at_hand, current_packer(), fetcher.cache, tmp_path)


def test_an_application_that_changes_after_it_was_looked_at_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "serve.py").write_text("x = 1\n")
    layer = PlannedLayer(step=Step.APP, title="application", inputs=(app_digest(tmp_path / "app"),))
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    at_hand = supplies(path, app=tmp_path / "app")

    layers.packed(layer, at_hand, current_packer(), fetcher.cache, tmp_path)
    (tmp_path / "app" / "serve.py").write_text("x = 2\n")

    with pytest.raises(IntegrityError, match="changed while it was built"):
        layers.packed(layer, at_hand, current_packer(), fetcher.cache, tmp_path)
