"""Building from a lock, without a network: what is kept, what is not, and what is refused before anything is packed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import build, codec, lockfile, sources, verify
from envparity.attached.beside import Wanted
from envparity.cache import Cache
from envparity.errors import EnvparityError, ExitStatus, IntegrityError, RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.image import layers, model
from envparity.image.app import app_digest
from envparity.image.contents import Supplies
from envparity.image.layout import LAYOUT
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.pack import Remade, current_packer
from envparity.oci.places import open_image
from envparity.oci.spec import OCI_LAYER
from envparity.oci.tree import merge
from envparity.values import (
    LockedArtifact,
    LockedDistribution,
    LockedInterpreter,
    LockedModel,
    LockedOsPackage,
    LockedWheel,
    Options,
    PlannedLayer,
    Repacked,
    Step,
    Verdict,
)
from tests.e2e.tampering import layer_with, tampered
from tests.oci import registry
from tests.oci.made import file
from tests.values import a_lock, training
from tests.wheels import content, pack

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


def lock_of(
    folder: Path,
    *distributions: LockedDistribution,
    layout: int = LAYOUT,
    models: tuple[LockedModel, ...] = (),
    os_packages: tuple[LockedOsPackage, ...] = (),
) -> Path:
    """The path of a lock of these distributions and of no OS packages, or few: an image that runs nowhere."""
    snapshot = codec.content_bytes(training())
    digest = hashlib.sha256(snapshot).hexdigest()
    artifact = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(snapshot), sha256=digest)
    target = msgspec.structs.replace(
        a_lock().targets[0],
        interpreter=LockedInterpreter(kind="base", version="3.11.2", executable="/usr/bin/python3.11"),
        os_packages=os_packages,
        substituted=(),
    )
    lock = a_lock(
        distributions=distributions,
        targets=(target,),
        snapshot=artifact,
        models=models,
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


def test_an_application_that_is_not_at_hand_is_unknown_whatever_its_files_are_called(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """Who verifies without it is told to name it, and not that somebody planted its files."""
    (tmp_path / "app" / "x").mkdir(parents=True)
    (tmp_path / "app" / "x" / "serve.py").touch()
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    output = f"oci:{tmp_path / 'image'}"
    build.assemble(build.Request(path, outputs=(output,), app=tmp_path / "app"), fetcher=fetcher)

    verdict = verify.against(verify.Request(output, str(path)), fetcher=fetcher)

    assert [item for item in verdict.findings if item.difference.item.startswith("/opt")] == []
    assert any("name it with --app" in gap.reason for gap in verdict.gaps)


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
    old = LockedModel(name="model.joblib", size_bytes=4, sha256=hashlib.sha256(b"old!").hexdigest())
    layer = PlannedLayer(step=Step.MODEL, title="m", inputs=model.inputs(model.units(old)))
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    at_hand = supplies(path, models={"model.joblib": tmp_path / "model.joblib"})

    with pytest.raises(IntegrityError, match=r"`model\.joblib` changed while it was built"):
        layers.packed(layer, at_hand, current_packer(), fetcher.cache, tmp_path)


def test_a_large_model_is_held_to_the_lock_where_it_is_packed_and_where_it_need_not_be(
    tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once; so another one of the same name and size is met late, and must be met all the same."""
    monkeypatch.setattr(model, "LARGE_BYTES", 4)
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps({"a": 1}))
    demo = wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher)
    path = lock_of(tmp_path, demo, models=(model.read(place),))
    other = f"oci:{tmp_path / 'other'}"
    with registry.serving(registry.Fake()) as fake, Client() as client:
        online = Fetcher(client, fetcher.cache)
        request = build.Request(path, (fake.reference,), models=(place,), beside=Wanted(attach=()))
        first = build.assemble(request, fetcher=online)
        assert build.assemble(request, fetcher=online).image.digest == first.image.digest

        place.write_bytes(pickle.dumps({"a": 2}))
        renamed = dataclasses.replace(request, outputs=(f"{fake.reference}2",))
        for again in (request, renamed, dataclasses.replace(request, outputs=(other,))):
            with pytest.raises(IntegrityError, match="not the one that the lock's snapshot knew"):
                build.assemble(again, fetcher=online)
        assert list(fake.tags) == ["1"]
    assert not (tmp_path / "other" / "index.json").exists()


class Changing:
    """Writes to a model once its layer was made."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        made = itertools.count(1)

        def advance(amount: int) -> None:
            if title == "layers" and next(made) == total:
                with self._place.open("r+b") as stream:
                    stream.seek(1_000)
                    stream.write(os.urandom(8))

        yield advance


def test_a_model_that_does_not_compress_is_copied_nowhere_and_sent_as_it_was(tmp_path: Path, fetcher: Fetcher) -> None:
    """40 GB of weights have no room beside themselves; and a job that writes on must not change what is sent."""
    place = tmp_path / "model.pkl"
    place.write_bytes(pickle.dumps(os.urandom(3_000_000)))
    demo = wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher)
    path = lock_of(tmp_path / "lock", demo)
    outputs = ("oci:{}", "docker-archive:{}.tar")
    with registry.serving(registry.Fake()) as fake, Client() as client:
        online = Fetcher(client, fetcher.cache)
        made = [each.format(tmp_path / "made") for each in outputs]
        request = build.Request(path, (*made, fake.reference), models=(place,), name="m:1", beside=Wanted(attach=()))
        image = build.assemble(request, fetcher=online).image
        (layer,) = (where for descriptor, where in image.layers if descriptor.media_type == OCI_LAYER)

        assert isinstance(layer, Remade)
        assert [open_image(output).digest for output in made] == [image.digest] * 2
        assert fake.tags["1"][0] == image.manifest_bytes

    for output in (each.format(tmp_path / "other") for each in outputs):
        changing = dataclasses.replace(fetcher, progress=Changing(place))
        with pytest.raises(IntegrityError, match=r"`model\.pkl` changed while it was built"):
            build.assemble(dataclasses.replace(request, outputs=(output,)), fetcher=changing)
    left = [each for each in (tmp_path / "other").rglob("*") if each.is_file()]
    assert not (tmp_path / "other.tar").exists()
    assert not [each for each in left if each.name == "index.json" or each.stat().st_size > 1_000_000]


def test_who_writes_to_several_places_is_told_which_have_the_image_when_one_fails(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """A tag that moved in the first place is there, and whoever reads that the build failed would not look."""
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    layout = f"oci:{tmp_path / 'image'}"

    with registry.serving(registry.Fake()) as fake, Client() as client:
        fake.answer = lambda each: each.command == "PUT" and registry.reply(each, 403, registry.body_of(each)[:0])
        request = build.Request(path, (layout, fake.reference), beside=Wanted(attach=()))
        with pytest.raises(EnvparityError, match=r"127\.0\.0\.1") as caught:
            build.assemble(request, fetcher=Fetcher(client, fetcher.cache))
        with pytest.raises(EnvparityError) as alone:
            build.assemble(
                dataclasses.replace(request, outputs=(fake.reference,)), fetcher=Fetcher(client, fetcher.cache)
            )

    assert caught.value.details == (f"written before that: {layout}",)
    assert alone.value.details == ()
    assert open_image(layout).digest


def test_an_image_that_does_not_start_its_server_says_so(tmp_path: Path, fetcher: Fetcher) -> None:
    place = tmp_path / "model.pickle"
    place.write_bytes(pickle.dumps({"a": 1}))
    served = [wheel(tmp_path, name, {f"{name}/__init__.py": b""}, fetcher) for name in ("fastapi", "uvicorn")]
    path = lock_of(tmp_path, *served)
    request = build.Request(path, models=(place,), serve="fastapi")

    def noted(*words: str) -> bool:
        asked = dataclasses.replace(request, options=Options(entrypoint=words) if words else Options())
        return any("--entrypoint" in note for note in build.assemble(asked, fetcher=fetcher).notes)

    assert noted("python", "-m", "http.server")
    assert not noted("tini", "--", "/opt/env/bin/python", "/opt/serve/start.py")
    assert not noted()


def test_a_server_of_another_release_is_told_apart_from_a_change_and_is_no_less_a_finding(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """Whoever updates envparity and verifies what runs would look for somebody who changed the image."""
    place = tmp_path / "model.pickle"
    place.write_bytes(pickle.dumps({"a": 1}))
    path = lock_of(tmp_path, *(wheel(tmp_path, name, {f"{name}.py": b""}, fetcher) for name in ("fastapi", "uvicorn")))
    request = build.Request(path, (f"oci:{tmp_path / 'image'}",), models=(place,), serve="fastapi")
    built = build.assemble(request, fetcher=fetcher)
    (layer,) = (at for at, each in enumerate(built.plan.layers) if each.step is Step.SERVER)

    def older(entries: list[Entry]) -> list[Entry]:
        return [
            dataclasses.replace(entry, content=b"1\n", size_bytes=2) if entry.path == "opt/serve/start.py" else entry
            for entry in entries
        ]

    other = tampered(tmp_path / "image", tmp_path / "older", {layer: older})
    verdict = verify.against(verify.Request(other, str(path)), fetcher=fetcher)

    (finding,) = (item for item in verdict.findings if item.difference.item == "/opt/serve/start.py")
    assert verdict.status is ExitStatus.INTEGRITY
    assert "verify with the one that built the image" in finding.fix


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


def test_the_image_is_the_same_on_one_core_and_on_many(
    tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers are made beside one another and deflated by as many threads as there are cores; no byte may show it."""
    parts = [wheel(tmp_path, f"part{number}", {f"part{number}.py": LARGE[number:]}, fetcher) for number in range(3)]
    lock = lock_of(tmp_path / "lock", *parts)
    digests = set()
    for cores in (1, 2):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(layers, "_AT_ONCE", cores)
        other = Fetcher(fetcher.client, Cache(tmp_path / f"cache-{cores}"))
        shutil.copytree(fetcher.cache.folder / "blobs", other.cache.folder / "blobs")
        request = build.Request(lock, (f"oci:{tmp_path / f'image-{cores}'}",))
        digests.add(build.assemble(request, fetcher=other).image.digest)

    assert len(digests) == 1


def test_a_layer_that_fails_stops_those_that_are_made_beside_it(tmp_path: Path, fetcher: Fetcher) -> None:
    """Nobody waits for gigabytes to be packed of an image that is not made any more; and nothing half made is kept."""
    good = wheel(tmp_path, "good", {"good.py": LARGE}, fetcher)
    damaged = pack(tmp_path, {"bad.py": LARGE[1:]}, file_name="bad-1.0-py3-none-any.whl")
    data = bytearray(damaged.read_bytes())
    data[5 << 20] ^= 1
    damaged.write_bytes(data)
    lock = lock_of(tmp_path / "lock", good, locked(damaged, fetcher))

    with pytest.raises(IntegrityError, match="bad"):
        build.assemble(build.Request(lock, (f"oci:{tmp_path / 'image'}",)), fetcher=fetcher)
    assert not list((fetcher.cache.folder / "incoming").iterdir())


def test_the_folders_of_a_base_are_those_that_were_noted_of_it(tmp_path: Path, fetcher: Fetcher) -> None:
    """A layer above repeats the headers of the base's folders, so what was noted makes the very same layer."""
    lock = lock_of(tmp_path / "lock", wheel(tmp_path, "demo", {"demo.py": b""}, fetcher))
    whole, data = lockfile.read(lock)
    plain = Supplies(whole, whole.targets[0], data, {})

    first = layers.with_known_folders(plain, fetcher.cache)
    second = layers.with_known_folders(Supplies(whole, whole.targets[0], data, {}), fetcher.cache)

    assert first.known_folders is None
    assert second.known_folders == second.folders == first.folders
    assert second.folders


def folder_model(folder: Path) -> Path:
    """A model of two files, as MLflow keeps it, and a link to one of them."""
    (folder / "weights").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: demo\n")
    (folder / "weights" / "part.bin").write_bytes(bytes(range(256)))
    (folder / "latest.bin").symlink_to("weights/part.bin")
    return folder


def test_a_model_that_is_a_folder_lies_in_the_image_by_one_digest(tmp_path: Path, fetcher: Fetcher) -> None:
    """Which times, modes and links its files have on this machine does not count, and is not in the image."""
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    other = folder_model(tmp_path / "other" / "churn")
    (other / "latest.bin").unlink()
    (other / "latest.bin").write_bytes(bytes(range(256)))
    (other / "MLmodel").chmod(0o600)
    os.utime(other / "MLmodel", (1, 1))

    images = []
    for number, place in enumerate((folder_model(tmp_path / "churn"), other)):
        output = f"oci:{tmp_path / str(number)}"
        images.append(build.assemble(build.Request(path, (output,), models=(place,)), fetcher=fetcher).image.digest)
    verdict = verify.against(verify.Request(f"oci:{tmp_path / '0'}", str(path)), fetcher=fetcher)

    assert images[0] == images[1]
    assert verdict.status is ExitStatus.OK, verdict.findings


def test_a_large_folder_is_split_and_proven_part_by_part(
    tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are layers of their own, so that what changes beside them rewrites none; and each is held to."""
    monkeypatch.setattr(model, "LEAST_BYTES", 1000)
    monkeypatch.setattr(model, "PART_BYTES", 1500)
    place = folder_model(tmp_path / "churn")
    for number in range(4):
        (place / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    built = {}
    for name in ("image", "again"):
        built[name] = build.assemble(build.Request(path, (f"oci:{tmp_path / name}",), models=(place,)), fetcher=fetcher)
        (place / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: demo\n# more\n")

    verdict = verify.against(verify.Request(f"oci:{tmp_path / 'again'}", str(path)), fetcher=fetcher)
    titles = [layer.title for layer in built["image"].plan.layers if layer.step is Step.MODEL]
    digests = {name: {each.digest for each, _ in one.image.layers} for name, one in built.items()}
    assert verdict.status is ExitStatus.OK, verdict.findings
    assert titles == [f"churn, {number} of 5" for number in range(1, 6)]
    assert len(digests["image"] - digests["again"]) == 1

    def spoiled(entries: list[Entry]) -> list[Entry]:
        return [
            dataclasses.replace(entry, content=b"\7" * 1000) if entry.kind == "file" else entry for entry in entries
        ]

    layer = next(at for at, each in enumerate(built["again"].plan.layers) if each.title == "churn, 3 of 5")
    other = tampered(tmp_path / "again", tmp_path / "spoiled", {layer: spoiled})
    found = verify.against(verify.Request(other, str(path)), fetcher=fetcher)
    assert found.status is ExitStatus.INTEGRITY
    assert {item.difference.item for item in found.findings} >= {"/opt/model/churn"}


def test_a_folder_that_is_not_the_recorded_model_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    place = folder_model(tmp_path / "churn")
    demo = wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher)
    path = lock_of(tmp_path, demo, models=(model.read(place),))
    build.assemble(build.Request(path, models=(place,)), fetcher=fetcher)
    (place / "weights" / "more.bin").write_bytes(b"1")

    with pytest.raises(IntegrityError, match="not the one that the lock's snapshot knew"):
        build.assemble(build.Request(path, models=(place,)), fetcher=fetcher)


def test_a_file_changed_in_a_model_folder_of_an_image_is_found(tmp_path: Path, fetcher: Fetcher) -> None:
    """The image says that it holds the recorded model; its bytes say otherwise."""
    place = folder_model(tmp_path / "churn")
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher), models=(model.read(place),))
    said = build.assemble(build.Request(path, models=(place,)), fetcher=fetcher).plan
    (place / "weights" / "part.bin").write_bytes(bytes(256))
    unknown = lock_of(tmp_path / "unknown", wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    output = f"oci:{tmp_path / 'image'}"
    build.assemble(build.Request(unknown, (output,), models=(place,)), fetcher=fetcher)
    verdict = verify.against(verify.Request(output, str(path)), fetcher=fetcher)

    assert said.options.models[0].files == 3
    assert verdict.status is ExitStatus.INTEGRITY
    assert any("opt/model/churn" in finding.difference.item for finding in verdict.findings)


@pytest.mark.parametrize("name", [".env", ".git/config", "code/.ssh/id_rsa"])
def test_a_model_folder_that_holds_secrets_is_refused_by_name(tmp_path: Path, name: str) -> None:
    place = folder_model(tmp_path / "churn")
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_text("TOKEN=1\n")
    (place / "out").symlink_to("/etc/passwd")

    with pytest.raises(RefusedError) as refused:
        model.read(place)

    assert [line.partition(":")[0] for line in refused.value.details] == sorted([name, "out"])


def test_a_folder_without_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match="a folder without a file"):
        model.read(tmp_path / "empty")


def test_a_plan_is_told_and_nothing_is_fetched_or_made_or_written(tmp_path: Path, fetcher: Fetcher) -> None:
    """Who asks what an image would be pays nothing for it; and of layers that were made before, it says so."""
    demo = wheel(tmp_path, "demo", {"demo/__init__.py": b"", "demo/tests/test_demo.py": b"x = 1\n"}, fetcher)
    far = wheel(tmp_path, "far", {"far.py": b""}, offline(tmp_path / "other-cache"))
    path = lock_of(tmp_path / "lock", demo, far)
    files = sorted(tmp_path.rglob("*"))

    told = build.planned(build.Request(path), fetcher=fetcher)

    assert [layer.made for layer in told.layers] == [False] * len(told.layers)
    assert (told.unseen, dict(told.unserved)) == (1, {"tests": 6, "docs": 0, "static": 0, "debug": 0})
    assert not [place for place in set(tmp_path.rglob("*")) - {*files} if place.parent.name not in {"cache", "users"}]

    build.assemble(build.Request(lock_of(tmp_path / "lock", demo)), fetcher=fetcher)
    again = build.planned(build.Request(tmp_path / "lock" / "pylock.toml"), fetcher=fetcher)

    assert [layer.step for layer in again.layers if layer.made] == [*(layer.step for layer in again.layers)]
    assert all(layer.unpacked_bytes for layer in again.layers if layer.made)


def test_the_codec_changes_how_layers_are_stored_and_nothing_of_what_they_hold(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """An engine knows an image by its configuration; and `verify` assembles it again whatever it was stored as."""
    path = lock_of(tmp_path / "lock", wheel(tmp_path, "demo", {"demo.py": b"x = 1\n" * 1000}, fetcher))
    images = {}
    for chosen in ("", "gzip", "zstd", "none"):
        output = f"oci:{tmp_path / (chosen or 'usual')}"
        request = build.Request(path, (output,), codec=chosen)
        images[chosen] = build.assemble(request, fetcher=fetcher).image
        verdict = verify.against(verify.Request(output, str(path)), fetcher=fetcher)
        assert verdict.status is ExitStatus.OK, verdict.findings

    kinds = {name: {item.media_type.rpartition(".")[2] for item, _ in image.layers} for name, image in images.items()}
    assert kinds == {"": {"tar+gzip"}, "gzip": {"tar+gzip"}, "zstd": {"tar+zstd"}, "none": {"tar"}}
    assert images[""].digest == images["gzip"].digest
    assert len({image.config_digest for image in images.values()}) == 1
    assert b"zstandard" in images["zstd"].manifest_bytes


def test_what_is_left_out_of_the_wheels_is_said_and_all_else_is_held_against_the_lock(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """An image without tests is no drift; and one that says so, and lacks something else too, is."""
    demo = wheel(tmp_path, "demo", {"demo/__init__.py": b"", "demo/tests/test_demo.py": b"x = 1\n"}, fetcher)
    path = lock_of(tmp_path / "lock", demo)
    images = {}
    for strip in ((), ("tests",)):
        images[strip] = f"oci:{tmp_path / (''.join(strip) or 'whole')}"
        build.assemble(build.Request(path, (images[strip],), options=Options(strip=strip)), fetcher=fetcher)

    told = build.planned(build.Request(path, options=Options(strip=("tests",))), fetcher=fetcher)
    verdict = verify.against(verify.Request(images["tests",], str(path)), fetcher=fetcher)
    assert verdict.status is ExitStatus.OK, verdict.findings
    assert "left out of the wheels (tests): 1 file, 0.0 MB" in verdict.declared
    assert (told.strip, dict(told.unserved)["tests"]) == (("tests",), 6)

    def lying(document: dict[str, Any]) -> None:
        document["config"]["Labels"]["envparity.options"] = '{"strip":["tests"]}'

    of_whole = tampered(tmp_path / "whole", tmp_path / "lying", {}, config=lying)
    found = verify.against(verify.Request(of_whole, str(path)), fetcher=fetcher)
    assert {item.difference.item.rpartition("/")[2] for item in found.findings} >= {"test_demo.py", "RECORD"}
    assert found.status is ExitStatus.INTEGRITY


def test_a_wheel_that_was_made_here_is_stripped_as_any_other_and_the_plan_looks_into_it(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """It lies beside the lock, and not in the cache."""
    packed = pack(
        tmp_path, {"own/__init__.py": b"", "own/tests/test_own.py": b"x = 1\n"}, file_name="own-1.0-py3-none-any.whl"
    )
    made = msgspec.structs.replace(
        locked(packed, offline(tmp_path / "elsewhere")), state="repacked", repacked=Repacked(origin="installed")
    )
    path = lock_of(
        tmp_path / "lock", msgspec.structs.replace(made, wheels=(msgspec.structs.replace(made.wheel, url=""),))
    )
    shutil.copy(packed, lockfile.artifacts_folder(path))
    request = build.Request(path, (f"oci:{tmp_path / 'image'}",), options=Options(strip=("tests",)))
    told = build.planned(request, fetcher=fetcher)
    build.assemble(request, fetcher=fetcher)
    paths = {node.path for node in merge(open_image(f"oci:{tmp_path / 'image'}")).walk()}

    assert (told.unseen, dict(told.unserved)["tests"]) == (0, 6)
    assert not [path for path in paths if "test_own" in path]


def without(path: str, note: str) -> Callable[[list[Entry]], list[Entry]]:
    """A change of a layer: a file and its row in RECORD go, and the row stands among what was left out."""

    def change(entries: list[Entry]) -> list[Entry]:
        texts = {entry.path: content(entry).decode() for entry in entries if entry.path.endswith(("/RECORD", note))}
        (record,) = (each for each in texts if each.endswith("/RECORD"))
        (row,) = (line for line in texts[record].splitlines(keepends=True) if line.startswith(f"{path},"))
        texts[record] = texts[record].replace(row, "")
        texts[next(each for each in texts if each.endswith(note))] += row
        kept = [entry for entry in entries if not entry.path.endswith(f"/{path}")]
        return [dataclasses.replace(it, content=texts[it.path].encode()) if it.path in texts else it for it in kept]

    return change


def test_what_an_image_says_of_its_stripped_wheels_is_believed_as_far_as_it_leads_to_the_training(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """Whoever removes a module must not get away with calling it a test, nor with saying nothing."""
    held = {"demo/__init__.py": b"", "demo/core.py": b"x = 1\n", "demo/tests/test_demo.py": b"y = 1\n"}
    path = lock_of(tmp_path / "lock", wheel(tmp_path, "demo", held, fetcher))
    for strip in ((), ("tests",)):
        output = f"oci:{tmp_path / (''.join(strip) or 'whole')}"
        build.assemble(build.Request(path, (output,), options=Options(strip=strip)), fetcher=fetcher)
    trained = tmp_path / "trained.env.json"
    python = (file("usr/bin/python3.11", b"\x7fELF", 0o755), file("usr/lib/python3.11/os.py"))
    whole = sources.read(tampered(tmp_path / "whole", tmp_path / "trained", {}, more=[python]))
    of_training = msgspec.structs.replace(training(), distributions=whole.distributions)
    trained.write_bytes(codec.content_bytes(of_training))

    def found(reference: str) -> Verdict:
        return verify.against(verify.Request(reference, str(trained)), fetcher=fetcher)

    def unsaid(document: dict[str, Any]) -> None:
        document["config"]["Labels"]["envparity.options"] = "{}"

    verdict = found(tampered(tmp_path / "tests", tmp_path / "plain", {}, more=[python]))
    assert not {item.difference.section for item in verdict.findings} & {"files", "distributions"}
    assert "left out of the wheels (tests): 1 file, 0.0 MB" in verdict.declared

    layer = layer_with(tmp_path / "tests", "opt/env/lib/python3.11/site-packages/demo/core.py")
    more = {layer: without("demo/core.py", "stripped/demo-1.0.csv")}
    for reference in (
        tampered(tmp_path / "tests", tmp_path / "unsaid", {}, more=[python], config=unsaid),
        tampered(tmp_path / "tests", tmp_path / "more", more, more=[python]),
    ):
        verdict = found(reference)
        assert verdict.status is ExitStatus.INTEGRITY
        assert {item.difference.item.rpartition("/")[2] for item in verdict.findings} >= {"RECORD"}


DECIDES: dict[str, object] = {
    "outputs": ("registry:127.0.0.1:5000/other:1",),
    "name": "other:1",
    "platform": "linux/arm64",
    "codec": "zstd",
    "beside": Wanted(attach=()),
    "written_at": datetime(2026, 11, 26, tzinfo=UTC),
    "look": False,
}
ELSEWHERE = {
    "lock": "its bytes are",
    "options": "they are, with the digests of models and application, and with the server",
    "models": "of the options",
    "app": "of the options",
    "ca_bundle": "of the options",
    "serve": "of the options",
    "environ": "it says how places are reached, and never what is in an image",
    "host": "what is told of a host is told again, so nothing is noted",
}


@pytest.mark.parametrize("name", sorted(DECIDES))
def test_an_answer_is_noted_under_everything_that_decides_it(tmp_path: Path, name: str) -> None:
    """A build of which nothing changed is answered from a note: two requests that differ must not share one."""
    request = build.Request(tmp_path / "pylock.toml", ("registry:127.0.0.1:5000/a:1",))
    other = dataclasses.replace(request, **{name: DECIDES[name]})

    assert build._noted_under(request, b"lock", Options()) != build._noted_under(other, b"lock", Options())
    assert build._noted_under(request, b"lock", Options()) != build._noted_under(request, b"lock", Options(user="1"))


def test_a_new_part_of_a_request_is_thought_of_where_answers_are_noted() -> None:
    assert {each.name for each in dataclasses.fields(build.Request)} == DECIDES.keys() | ELSEWHERE.keys()
