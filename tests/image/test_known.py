"""What was made before: not made again, not read where a place has it, and never taken for whole where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from envparity import build
from envparity.attached import found
from envparity.attached.beside import Wanted
from envparity.cache import Cache
from envparity.errors import RefusedError
from envparity.fetch import Fetcher
from envparity.image.plan import group_of
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.check import require_valid
from envparity.oci.places import open_image
from envparity.values import Options
from tests.image.test_base import Pool
from tests.oci.registry import Fake, serving
from tests.serving import plain
from tests.serving import serving as of_files
from tests.test_build import lock_of, locked, wheel
from tests.wheels import pack


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(Client(attempts=2), Cache(tmp_path / "cache"))


def blob_of(fetcher: Fetcher, digest: str) -> Path:
    place = fetcher.cache.blob(digest.removeprefix("sha256:"))
    assert place is not None
    return place


def test_layers_that_are_kept_need_nothing_of_what_they_are_made_of(tmp_path: Path, fetcher: Fetcher) -> None:
    """The wheels were pruned, or their index is gone: the image is built all the same, and offline."""
    demo = wheel(tmp_path, "demo", {"demo.py": b"x = 1\n"}, fetcher)
    path = lock_of(tmp_path / "lock", demo)
    first = build.assemble(build.Request(path), fetcher=fetcher)
    blob_of(fetcher, demo.wheel.sha256).unlink()
    offline = Fetcher(Client(offline=True), Cache(tmp_path / "cache"))

    again = build.assemble(build.Request(path, (f"oci:{tmp_path / 'image'}",)), fetcher=offline)

    assert again.image.digest == first.image.digest
    require_valid(open_image(f"oci:{tmp_path / 'image'}"))


def test_a_base_is_made_once_whatever_lock_it_is_of(tmp_path: Path, fetcher: Fetcher) -> None:
    """To unpack it takes longer than all else: the second team on it need not even have its packages."""
    packages = Pool(tmp_path)
    package = packages.add("demo", [("file", "./usr/lib/demo.so", 0o644, "demo")])
    path = packages.paths[package.sha256]
    fetcher.cache.adopt([path.read_bytes()], sha256=package.sha256, size_bytes=package.size_bytes, what="demo")
    one, two = (wheel(tmp_path, name, {f"{name}.py": b"x = 1\n"}, fetcher) for name in ("one", "two"))
    first = build.assemble(build.Request(lock_of(tmp_path / "one", one, os_packages=(package,))), fetcher=fetcher)
    blob_of(fetcher, package.sha256).unlink()
    offline = Fetcher(Client(offline=True), Cache(tmp_path / "cache"))

    second = build.assemble(build.Request(lock_of(tmp_path / "two", two, os_packages=(package,))), fetcher=offline)

    assert second.image.layers[0] == first.image.layers[0]
    assert second.image.digest != first.image.digest


def test_a_damaged_layer_in_the_cache_reaches_no_image(tmp_path: Path, fetcher: Fetcher) -> None:
    """Its length and times are those of the whole one: only its bytes tell."""
    path = lock_of(tmp_path / "lock", wheel(tmp_path, "demo", {"demo.py": b"x = 1\n"}, fetcher))
    first = build.assemble(build.Request(path), fetcher=fetcher)
    for descriptor, place in first.image.layers:
        if place.exists():
            data = bytearray(place.read_bytes())
            data[-1] ^= 1
            place.write_bytes(data)
            assert blob_of(fetcher, descriptor.digest) == place

    with serving(Fake()) as fake:
        outputs = (f"oci:{tmp_path / 'image'}", fake.reference)
        again = build.assemble(build.Request(path, outputs, beside=Wanted(attach=())), fetcher=fetcher)
        require_valid(open_image(f"oci:{tmp_path / 'image'}"))

    assert again.image.digest == first.image.digest
    assert {descriptor.digest for descriptor, _ in first.image.layers} <= fake.blobs.keys()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda place: place.write_bytes(place.read_bytes()[:-3]),
    "a bit": lambda place: place.write_bytes(place.read_bytes()[:-40] + bytes([place.read_bytes()[-40] ^ 1])),
    "empty": lambda place: place.write_bytes(b""),
    "a link": lambda place: (place.unlink(), place.symlink_to("/dev/null")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_cache_in_which_everything_is_damaged_is_as_good_as_none(tmp_path: Path, fetcher: Fetcher, kind: str) -> None:
    """A disk that rots, or a copy that broke off: the image is the same, and the next build finds the cache whole."""
    place = pack(tmp_path, {"demo/__init__.py": bytes(range(256))})
    with of_files({f"/{place.name}": [plain(place.read_bytes())] * 2}) as served:
        demo = locked(place, fetcher)
        there = msgspec.structs.replace(demo.wheel, url=f"{served.url}/{place.name}")
        lock = lock_of(tmp_path / "lock", msgspec.structs.replace(demo, wheels=(there,)))
        first = build.assemble(build.Request(lock, (f"oci:{tmp_path}/first",)), fetcher=fetcher)
        kept = [
            each for part in ("notes", "blobs") for each in (tmp_path / "cache" / part).rglob("*") if each.is_file()
        ]
        for each in kept:
            DAMAGE[kind](each)
        again = build.assemble(build.Request(lock, (f"oci:{tmp_path}/again",)), fetcher=fetcher)

    assert len(kept) > 8
    assert again.image.digest == first.image.digest
    require_valid(f"oci:{tmp_path}/again:latest")
    assert fetcher.cache.prune(check=True).damaged == 0


def test_what_a_registry_has_is_neither_read_nor_made(tmp_path: Path, fetcher: Fetcher) -> None:
    """A changed pin costs its own layer: all others are asked for, and that is all, the application among them."""
    assert group_of("kept") != group_of("moved")
    kept = wheel(tmp_path, "kept", {"kept.py": b"x = 1\n"}, fetcher)
    moved = wheel(tmp_path, "moved", {"moved.py": b"x = 2\n"}, fetcher)
    with serving(Fake()) as fake:
        request = build.Request(
            lock_of(tmp_path / "one", kept), (fake.reference,), app=tmp_path / "app", beside=Wanted(attach=())
        )
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "main.py").write_text("x = 1\n")
        before = build.assemble(request, fetcher=fetcher)
        for place in (tmp_path / "cache/blobs").rglob("*"):
            if place.is_file() and place.name != moved.wheel.sha256:
                place.unlink()
        fake.changes.clear()
        after = build.assemble(replace(request, lock=lock_of(tmp_path / "two", kept, moved)), fetcher=fetcher)

    sent = [change for change in fake.changes if change.startswith("PUT blobs")]
    shared = {item.digest for item, _ in before.image.layers} & {item.digest for item, _ in after.image.layers}
    assert len(shared) == len(before.image.layers) - 1, "all but the papers"
    assert len(sent) == 3, "the layer of the other wheel, the papers, the configuration"
    assert not any("looked into" in note for note in before.notes)
    (told,) = (note for note in after.notes if "was not looked into" in note)
    assert f"{len(shared)} of {len(after.image.layers)} layers" in told


def test_wheels_that_were_seen_apart_are_refused_together_without_being_read(tmp_path: Path, fetcher: Fetcher) -> None:
    one = wheel(tmp_path, "one", {"one.py": b"", "shared/a.py": b"A = 1\n"}, fetcher)
    two = wheel(tmp_path, "two", {"two.py": b"", "shared": b"A = 2\n"}, fetcher)
    for number, item in enumerate((one, two)):
        build.assemble(build.Request(lock_of(tmp_path / str(number), item)), fetcher=fetcher)

    with pytest.raises(RefusedError, match="different things to one path"):
        build.assemble(build.Request(lock_of(tmp_path / "both", one, two)), fetcher=fetcher)


def test_wheels_that_write_the_same_to_one_path_are_held_against_each_other_once(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    """As many of NVIDIA's do. The second time, neither is there to be read."""
    shared = {"nvidia/__init__.py": b"# namespace\n"}
    items = [wheel(tmp_path, name, {f"{name}.py": b"", **shared}, fetcher) for name in ("one", "two")]
    path = lock_of(tmp_path / "lock", *items)
    first = build.assemble(build.Request(path), fetcher=fetcher)
    for item in items:
        blob_of(fetcher, item.wheel.sha256).unlink()

    assert build.assemble(build.Request(path), fetcher=fetcher).image.digest == first.image.digest


def built_twice(tmp_path: Path, fetcher: Fetcher, fake: Fake) -> tuple[build.Request, build.Built, list[str]]:
    """A build, the same again, and what the registry was asked to change by the second."""
    path = lock_of(tmp_path / "lock", wheel(tmp_path, "demo", {"demo.py": b"x = 1\n"}, fetcher))
    request = build.Request(path, (fake.reference,))
    first = build.assemble(request, fetcher=fetcher)
    fake.changes.clear()
    again = build.assemble(request, fetcher=fetcher)
    assert (again.image.digest, again.plan, again.notes) == (first.image.digest, first.plan, first.notes)
    assert (again.sizes, again.attached, again.documents) == (first.sizes, first.attached, first.documents)
    return request, first, [*fake.changes]


def test_a_build_of_which_nothing_changed_sends_nothing(tmp_path: Path, fetcher: Fetcher) -> None:
    with serving(Fake()) as fake:
        _, _, changes = built_twice(tmp_path, fetcher, fake)

    assert changes == []


@pytest.mark.parametrize("lost", ["the tag", "another image has the tag", "a layer", "the configuration"])
def test_what_a_registry_lost_is_sent_again(tmp_path: Path, fetcher: Fetcher, lost: str) -> None:
    """That the image was pushed once says nothing of what lies there: somebody may have cleaned up there."""
    with serving(Fake()) as fake:
        request, first, _ = built_twice(tmp_path, fetcher, fake)
        if lost == "the tag":
            fake.tags.clear()
        elif lost == "another image has the tag":
            fake.tags["1"] = (b"{}", fake.tags["1"][1])
        else:
            layer = first.image.layers[0][0].digest
            del fake.blobs[layer if lost == "a layer" else first.image.config_digest]
        build.assemble(request, fetcher=fetcher)
        found = open_image(fake.reference, access=Access(Client(attempts=2)))
        require_valid(found)

    assert found.digest == first.image.digest


@pytest.mark.parametrize("lost", ["a document", "a document, and it is listed", "the list"])
def test_a_document_that_a_registry_lost_is_put_there_again(tmp_path: Path, fetcher: Fetcher, lost: str) -> None:
    """Who asks for the SBOM of what runs finds none, and each further build says that nothing changed."""
    with serving(Fake(api=lost == "a document")) as fake:
        request, first, changes = built_twice(tmp_path, fetcher, fake)
        (digests,) = first.documents.values()
        del fake.tags[first.image.digest.replace(":", "-") if lost == "the list" else digests[0]]
        build.assemble(request, fetcher=fetcher)
        there = found.attached(fake.reference, Access(Client(attempts=2)))

    assert changes == []
    assert {item.digest for item in there} == {*digests}


def test_a_note_of_another_image_is_no_proof_of_this_one(tmp_path: Path, fetcher: Fetcher) -> None:
    """A note that was put there: the registry knows no such image, so the right one is made."""
    with serving(Fake()) as fake:
        request, first, _ = built_twice(tmp_path, fetcher, fake)
        for place in (tmp_path / "cache/notes").glob("built-*"):
            said = json.loads(place.read_bytes())["value"]
            said["manifest"] = said["manifest"].replace('schemaVersion":2', 'schemaVersion": 2')
            fetcher.cache.write_note(place.stem, said)
        again = build.assemble(request, fetcher=fetcher)

    assert again.image.digest == first.image.digest


def test_another_option_or_a_changed_lock_is_another_build(tmp_path: Path, fetcher: Fetcher) -> None:
    with serving(Fake()) as fake:
        request, first, _ = built_twice(tmp_path, fetcher, fake)
        other = build.assemble(replace(request, options=Options(user="1:1")), fetcher=fetcher)
        request.lock.write_bytes(request.lock.read_bytes() + b"# reviewed\n")
        changed = build.assemble(request, fetcher=fetcher)

    assert len({first.image.digest, other.image.digest, changed.image.digest}) == 3
