"""The layers of a base that is an image: brought here only where they are lacking, and as the lock says they are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from envparity.cache import Cache
from envparity.errors import IntegrityError, UnreachableError
from envparity.image import base_layers
from envparity.image.plan import plan
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.image import assemble
from envparity.oci.pack import BuiltLayer, PackedLayer
from envparity.oci.places import open_image, write_image
from envparity.values import BaseLayer, Lock, LockedImage, Options, Step, Target
from tests.oci import hostile, registry
from tests.values import a_lock

TAR = hostile.tar(hostile.file("etc/os-release", b"ID=debian\n"))


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    with Client() as client:
        yield Access(client, Cache(tmp_path / "cache"))


def locked(base: str, **changes: object) -> tuple[Lock, Target]:
    """A lock on a base of this one layer, plain."""
    layer = BaseLayer(
        digest=hostile.digest(TAR), diff_id=hostile.digest(TAR), size_bytes=len(TAR), media_type=hostile.LAYER
    )
    image = LockedImage(digest=hostile.digest(b"manifest"), layers=(layer,), glibc="2.36")
    target = msgspec.structs.replace(a_lock().targets[0], base=base, image=image, os_packages=())
    return a_lock(targets=(target,), **changes), target


def test_a_layer_that_the_target_has_is_never_asked_for(tmp_path: Path, access: Access) -> None:
    """Gigabytes of a base are not moved through whoever builds."""
    with registry.serving(registry.filled(tmp_path, TAR)) as fake:
        lock, target = locked(fake.reference)
        where = base_layers.places(lock, target, tmp_path, access)[hostile.digest(TAR)]
        packed = PackedLayer(hostile.digest(TAR), hostile.digest(TAR), len(TAR), hostile.LAYER)
        image = assemble([BuiltLayer(packed, where, "")], {}, beneath=[{"created_by": "its own"}])

        write_image(f"{fake.reference.removesuffix(':1')}:2", image, access=access)

        assert access.cache is not None
        assert access.cache.blob(hostile.digest(TAR)[7:]) is None
        there = open_image(f"{fake.reference.removesuffix(':1')}:2", access=access)
        assert [layer.digest for layer in there.manifest.layers] == [hostile.digest(TAR)]
        assert there.config.history is not None
        assert [line.created_by for line in there.config.history] == ["its own"]


def test_a_layer_is_mounted_from_the_repository_of_the_base(tmp_path: Path, access: Access) -> None:
    """Where the target is another repository of one registry, nothing is sent."""
    with registry.serving(registry.filled(tmp_path, TAR)) as fake:
        lock, target = locked(f"registry:{fake.host}/the/base:1@{hostile.digest(b'manifest')}")
        where = base_layers.places(lock, target, tmp_path, access)[hostile.digest(TAR)]
        fake.answer = lambda request: request.command == "HEAD" and registry.reply(request, 404)
        packed = PackedLayer(hostile.digest(TAR), hostile.digest(TAR), len(TAR), hostile.LAYER)

        write_image(
            f"{fake.reference.removesuffix(':1')}:2", assemble([BuiltLayer(packed, where, "a")], {}), access=access
        )

        mounts = [change for change in fake.changes if "mount=" in change]
        assert mounts == [f"POST blobs/uploads/?mount={hostile.digest(TAR).replace(':', '%3A')}&from=the%2Fbase"]


def test_elsewhere_it_is_fetched_once_and_held_against_its_digest(tmp_path: Path, access: Access) -> None:
    with registry.serving(registry.filled(tmp_path, TAR)) as fake:
        lock, target = locked(fake.reference)
        where = base_layers.places(lock, target, tmp_path, access)[hostile.digest(TAR)]
        assert where().read_bytes() == TAR
        asked = len(fake.asked)
        assert where().read_bytes() == TAR
        assert len(fake.asked) == asked

        fake.blobs[hostile.digest(TAR)] = TAR[:-1] + b"x"
        fresh = dataclasses.replace(access, cache=Cache(tmp_path / "fresh"))
        with pytest.raises(IntegrityError, match="does not have the promised content"):
            base_layers.places(lock, target, tmp_path, fresh)[hostile.digest(TAR)]()
        del fake.blobs[hostile.digest(TAR)]
        with pytest.raises(UnreachableError, match="is not in its registry any more") as told:
            base_layers.places(lock, target, tmp_path, fresh)[hostile.digest(TAR)]()
        assert '[tool.envparity.target."linux/amd64"]' in told.value.hint


def test_of_a_layout_and_of_a_bundle_they_lie_beside_the_lock(tmp_path: Path, access: Access) -> None:
    lock, target = locked(f"oci:@{hostile.digest(b'manifest')}")
    assert target.image is not None
    place = tmp_path / target.image.layers[0].artifact.name
    place.write_bytes(TAR)
    bundled = locked("registry:nowhere.invalid/base:1", bundled=True)

    for each in ((lock, target), bundled):
        assert base_layers.places(*each, tmp_path, access)[hostile.digest(TAR)]() == place
    place.write_bytes(TAR + b"x")
    with pytest.raises(IntegrityError, match="is not the file that was locked"):
        base_layers.places(lock, target, tmp_path, access)[hostile.digest(TAR)]()
    place.unlink()
    with pytest.raises(UnreachableError, match="is missing"):
        base_layers.places(lock, target, tmp_path, access)[hostile.digest(TAR)]()


def test_the_layers_of_the_base_are_the_lowest_and_do_not_count_among_those_of_the_plan() -> None:
    lock, target = locked("registry:nowhere.invalid/base:1")
    image = target.image
    assert image is not None
    many = msgspec.structs.replace(image, layers=image.layers * 30)
    of_many = plan(lock, msgspec.structs.replace(target, image=many), Options(), "0" * 64).layers
    of_one = plan(lock, target, Options(), "0" * 64).layers

    assert [layer.step for layer in of_one][:2] == [Step.IMAGE, Step.INTERPRETER]
    assert of_many[30:] == of_one[1:]


def test_what_its_python_is_started_with_is_read_out_of_all_layers_together(tmp_path: Path) -> None:
    """A builder without that Python starts the base's own; what a higher layer deletes or replaces is not there."""
    lower = hostile.tar(
        hostile.file("usr/bin/python3.11", b"old"),
        hostile.file("usr/lib/libgone.so.1", b"gone"),
        hostile.file("usr/share/other", b"other"),
        hostile.link("lib", "usr/lib"),
    )
    upper = hostile.tar(hostile.file("usr/lib/.wh.libgone.so.1"), hostile.file("usr/bin/python3.11", b"new"))
    layers = []
    for number, tar in enumerate((lower, upper)):
        (tmp_path / str(number)).write_bytes(tar)
        digest = hostile.digest(tar)
        layers.append(BaseLayer(digest=digest, diff_id=digest, size_bytes=len(tar), media_type=hostile.LAYER))
    where = {layer.digest: functools.partial(Path, tmp_path, str(number)) for number, layer in enumerate(layers)}
    image = LockedImage(digest=hostile.digest(b"manifest"), layers=tuple(layers), glibc="2.36")

    found = base_layers.files(image, where, lambda path: not path.endswith("other"))

    assert {entry.path: entry.content or entry.target for entry in found} == {
        "usr/bin/python3.11": b"new",
        "lib": "usr/lib",
    }
