"""A base that is an image: what it holds, what is put on top of it, and which images nothing can stand on."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import build
from envparity.cache import Cache
from envparity.errors import IntegrityError, RefusedError, UnreachableError, UsageError
from envparity.fetch import Fetcher
from envparity.image.cuda import carried
from envparity.image.preflight import check_platform
from envparity.locking import base_image
from envparity.locking.base_image import BaseImage
from envparity.locking.conda import Conda
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.tar import write_layer
from envparity.values import BaseFolder, LockedCondaPackage, OsPackage, Substituted, Variable
from tests.e2e import small_image
from tests.oci import hostile, registry
from tests.oci.made import file
from tests.test_build import lock_of, wheel
from tests.values import a_lock, training

WOLFI = file("etc/os-release", b'ID=wolfi\nVERSION_ID="20230201"\nPRETTY_NAME="Wolfi"\n')
CONFIG = {
    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS=7", "NVIDIA_VISIBLE_DEVICES=all", "TEAM=a"],
    "Labels": {"maintainer": "somebody", "envparity.lock": "another one"},
    "Cmd": ["sh"],
}
WHOLE = file(f"{os.path.realpath(multiprocessing.__file__).lstrip('/')}")
"""What `small_image` leaves out of its Python, as minimal installations do."""

PLATFORM = "linux/amd64"


def libraries(*more: str) -> tuple[Entry, ...]:
    """The C library of this machine at a place where a loader looks, and empty files of these names beside it."""
    told = subprocess.run(["ldd", os.path.realpath(sys.executable)], capture_output=True, text=True, check=True).stdout
    place = re.search(r"=> (/\S+/libc\.so\.6) ", told)
    assert place is not None
    folder = "usr/lib/x86_64-linux-gnu"
    return (
        file(f"{folder}/libc.so.6", Path(place[1]).read_bytes(), 0o755),
        *(file(f"{folder}/{name}", b"", 0o644) for name in more),
    )


def tar_of(*entries: Entry) -> bytes:
    sink = io.BytesIO()
    write_layer(sink, entries)
    return sink.getvalue()


def layout(folder: Path, *layers: tuple[Entry, ...] | bytes, **more: Any) -> str:
    """An image of these layers, as entries or as the bytes of a tar; `more` as of `hostile.Blobs.image`."""
    blobs = hostile.Blobs(folder / "layout")
    tars = [layer if isinstance(layer, bytes) else tar_of(*layer) for layer in layers]
    return blobs.index(blobs.image(tars, **{"config": {"config": CONFIG}, **more}))


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator[Fetcher]:
    with Client() as client:
        yield Fetcher(client, Cache(tmp_path / "cache"))


def opened(base: str, fetcher: Fetcher, platform: str = PLATFORM) -> BaseImage:
    return base_image.opened(base, platform, fetcher=fetcher, environ={})


def decided(found: BaseImage, fetcher: Fetcher, tmp_path: Path, *sonames: str, **asked: Any) -> Any:
    """Of this very Python, which such a base has as its own."""
    python = training().python
    assert python is not None
    python = msgspec.structs.replace(python, version=".".join(map(str, sys.version_info[:3])))
    installed = (OsPackage(name="zlib1g", version="1:1.2.11", architecture="amd64"),)
    more = {"installed": installed, "settings": {}, "workplace": tmp_path, **asked}
    return base_image.decided(python, found, architecture="amd64", sonames=sonames, fetcher=fetcher, **more)


def test_a_base_says_what_decides_how_another_image_stands_on_it(tmp_path: Path, fetcher: Fetcher) -> None:
    """What it holds is recorded, so that a build never has to look into its layers."""
    folders = (
        Entry("tmp", "folder", 0o1777),
        Entry("opt", "folder", 0o775, gid=50),
        Entry("bin", "link", 0o777, target="usr/bin"),
        Entry("usr/bin", "folder", 0o755),
    )
    base = layout(tmp_path, (small_image.RELEASE, small_image.STATUS, *libraries()), folders)

    found = opened(base, fetcher)

    locked = found.locked
    assert found.reference == f"oci:@{locked.digest}"
    assert (locked.release, locked.glibc) == ("debian:bookworm", found.system.libc_version)
    assert found.packages == {"libc6": "2.36-9", "zlib1g": "1:1.2.13"}
    assert [layer.size_bytes > 0 for layer in locked.layers] == [True, True]
    assert locked.folders == (
        BaseFolder(path="bin", mode=0o777, target="usr/bin"),
        BaseFolder(path="opt", mode=0o775, gid=50),
        BaseFolder(path="tmp", mode=0o1777),
    )
    assert [line.created_by for line in locked.history] == [
        f"base {locked.digest[:19]}, layer {number} of 2" for number in (1, 2)
    ]
    assert locked.labels == (Variable("maintainer", "somebody"),)


ROOT_LINE = "root:x:0:0:root:/root:/bin/sh"
APP_LINE = "app:*:10001:10001:app:/home/app:/usr/sbin/nologin"


@pytest.mark.parametrize(
    ("users", "wanted"),
    [
        (b"root:x:0:0:root:/root:/bin/sh\n", (ROOT_LINE, APP_LINE)),
        (b"root:x:0:0:root:/root:/bin/sh", (ROOT_LINE, APP_LINE)),
        (None, ("root:*:0:0:root:/root:/usr/sbin/nologin", APP_LINE)),
        (
            b"app:x:7:7::/:/bin/sh\n",
            ("app:x:7:7::/:/bin/sh", "envparity:*:10001:10001:envparity:/home/app:/usr/sbin/nologin"),
        ),
        (b"nobody:x:10001:10001::/:/bin/sh\n", ()),
        (b"root:x:0:0:\xff:/root:/bin/sh\n", ()),
        (b"root:x:0:0:a\x00b:/root:/bin/sh\n", ()),
    ],
    ids=["usual", "no end", "none", "name taken", "number taken", "no UTF-8", "no text"],
)
def test_the_user_of_images_gets_a_name_and_what_the_base_has_stays(
    users: bytes | None, wanted: tuple[str, ...], tmp_path: Path, fetcher: Fetcher
) -> None:
    """Without one, whatever asks who it is (getpass, torch, matplotlib) fails."""
    own = (file("etc/passwd", users),) if users is not None else ()
    base = layout(tmp_path, (small_image.RELEASE, small_image.STATUS, *libraries(), *own))

    assert opened(base, fetcher).locked.passwd == wanted


@pytest.fixture(scope="module")
def with_python(tmp_path_factory: pytest.TempPathFactory) -> BaseImage:
    """A base with this very Python as its own."""
    folder = tmp_path_factory.mktemp("with-python")
    layer = (small_image.RELEASE, small_image.STATUS, *small_image.interpreter(), WHOLE)
    with Client() as client:
        return opened(layout(folder, layer), Fetcher(client, Cache(folder / "cache")))


def test_of_its_variables_those_stay_that_neither_numbers_nor_code_depend_on(
    with_python: BaseImage, tmp_path: Path, fetcher: Fetcher
) -> None:
    """OMP_NUM_THREADS of a base would count otherwise than training did; the lock says that it goes."""
    path = Variable("PATH", "/usr/local/bin:/usr/bin:/bin")
    assert with_python.locked.variables == (Variable("NVIDIA_VISIBLE_DEVICES", "all"), path, Variable("TEAM", "a"))

    left_out = decided(with_python, fetcher, tmp_path).left_out
    assert [item.name for item in left_out if item.kind == "variable"] == ["OMP_NUM_THREADS"]
    kept = decided(with_python, fetcher, tmp_path, settings={"OMP_NUM_THREADS": "7"}).left_out
    assert [item.name for item in kept if item.kind == "variable"] == []


def test_its_own_python_answers_where_it_is_the_same_release(
    with_python: BaseImage, tmp_path: Path, fetcher: Fetcher
) -> None:
    """Then nothing is captured, and nothing has to be put on top."""
    found = decided(with_python, fetcher, tmp_path)

    assert (found.interpreter.kind, found.interpreter.executable) == ("base", os.path.realpath(sys.executable))
    assert found.os_packages == ()
    changed = Substituted(
        kind="os-package", name="zlib1g", before="1:1.2.11", after="1:1.2.13", reason="the base has this version"
    )
    assert found.substituted == (changed,)


def test_conda_brings_its_own_python_and_libraries(with_python: BaseImage, tmp_path: Path, fetcher: Fetcher) -> None:
    """Of the base only the C library is taken, and it has to be new enough."""
    package = LockedCondaPackage(
        name="python",
        version="3.11.9",
        build="0",
        channel="https://conda.invalid/main",
        subdir="linux-64",
        file_name="python-3.11.9-0.conda",
        url="https://conda.invalid/main/linux-64/python-3.11.9-0.conda",
        size_bytes=1,
        sha256="0" * 64,
        state="proven",
    )
    brought = Conda((package,), (), frozenset({"libc.so.6", "libffi.so.8"}), frozenset({"libffi.so.8"}), "2.17")

    found = decided(with_python, fetcher, tmp_path, "libffi.so.8", of_conda=brought)

    assert (found.interpreter.kind, found.interpreter.executable) == ("conda", "/opt/env/bin/python3.11")
    assert found.os_packages == ()
    with pytest.raises(RefusedError, match=r"the conda packages need glibc 2\.99"):
        decided(with_python, fetcher, tmp_path, of_conda=dataclasses.replace(brought, glibc_floor="2.99"))


def test_a_python_without_half_of_its_library_is_none(tmp_path: Path, fetcher: Fetcher) -> None:
    """As minimal installations have it."""
    assert opened(layout(tmp_path, (small_image.RELEASE, *small_image.interpreter())), fetcher).python is None


OWN_HISTORY = [
    {"created": "2026-01-01T00:00:00Z", "created_by": "/bin/sh -c #(nop) ADD rootfs"},
    {"created_by": "ENV A=1", "empty_layer": True, "comment": "of a builder"},
]


def test_its_history_stays_word_for_word(tmp_path: Path, fetcher: Fetcher) -> None:
    layer = (small_image.RELEASE, small_image.STATUS, *libraries())
    base = layout(tmp_path, layer, config={"config": CONFIG, "history": OWN_HISTORY})

    assert [msgspec.to_builtins(line) for line in opened(base, fetcher).locked.history] == OWN_HISTORY


def test_what_a_layer_of_the_base_deletes_is_not_there(tmp_path: Path, fetcher: Fetcher) -> None:
    """A library that a whiteout hides is lacking, and has to be put on top."""
    layer = (small_image.RELEASE, small_image.STATUS, *libraries("libgomp.so.1", "libhere.so.1"))
    base = layout(tmp_path, layer, hostile.tar(hostile.file("usr/lib/x86_64-linux-gnu/.wh.libgomp.so.1")))

    found = opened(base, fetcher).sonames

    assert "libhere.so.1" in found
    assert "libgomp.so.1" not in found


def test_a_base_of_no_known_release_must_have_every_library_itself(
    with_python: BaseImage, tmp_path: Path, fetcher: Fetcher
) -> None:
    """Debian's packages on another system would be a guess: the person is told what is lacking, and who has it."""
    assert opened(layout(tmp_path, (WOLFI, *libraries())), fetcher).locked.release == ""
    found = dataclasses.replace(with_python, locked=msgspec.structs.replace(with_python.locked, release=""))

    with pytest.raises(RefusedError) as told:
        decided(found, fetcher, tmp_path, "libc.so.6", "libGL.so.1", "libgfortran.so.5", "libcuda.so.1")
    assert told.value.details == (
        "libGL.so.1: Debian and Ubuntu have it in libgl1",
        "libgfortran.so.5: Debian and Ubuntu have it in libgfortran5",
    )
    with pytest.raises(RefusedError, match="`--add-os tini` is not possible"):
        decided(found, fetcher, tmp_path, add=("tini",))
    left_out = decided(found, fetcher, tmp_path, "libc.so.6", "libcuda.so.1", "libnobody.so.9").left_out
    assert [item.name for item in left_out if item.kind == "library"] == ["libnobody.so.9", "libcuda.so.1"]


def test_a_base_without_glibc_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    musl = (file("etc/os-release", b"ID=alpine\n"), file("lib/ld-musl-x86_64.so.1", b"musl libc (x86_64)\0", 0o755))
    for folder, entries, what in ((tmp_path / "a", musl, "its C library is musl"), (tmp_path / "b", (WOLFI,), "no C")):
        with pytest.raises(RefusedError, match=what):
            opened(layout(folder, entries), fetcher)


def test_a_base_whose_layers_no_registry_has_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    """https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md, non-distributable layers"""
    blobs = hostile.Blobs(tmp_path / "layout")
    tar = tar_of(small_image.RELEASE, *libraries())
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [hostile.digest(tar)]}}
    base = blobs.index(blobs.manifest([blobs.add(tar, kind)], config))

    with pytest.raises(RefusedError, match=r"layer 1 of the base .* may not be distributed"):
        opened(base, fetcher)


def test_a_base_that_has_something_where_ours_lies_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    """What lay in /opt/env would be imported beside what is locked."""
    layer = (small_image.RELEASE, *libraries(), file("opt/env/lib/python3.11/site-packages/sneaked.py"))

    with pytest.raises(RefusedError, match="has /opt/env, where what is locked has its place"):
        opened(layout(tmp_path, layer), fetcher)


def test_an_image_that_was_built_here_is_no_base_and_its_own_lock_is_the_way(tmp_path: Path, fetcher: Fetcher) -> None:
    """Whoever wants one more package on a serving image is told how, and not only that it cannot be."""
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo.py": b""}, fetcher))
    build.assemble(build.Request(path, (f"oci:{tmp_path}/image",)), fetcher=fetcher)

    with pytest.raises(RefusedError, match="was built by envparity itself") as caught:
        opened(f"oci:{tmp_path}/image", fetcher)

    assert "`envparity lock pylock.toml --add REQUIREMENT`" in caught.value.hint
    assert "`--update NAME`" in caught.value.hint
    assert caught.value.hint.endswith("`--base debian:bookworm`")


def test_cuda_is_never_there_twice(tmp_path: Path, fetcher: Fetcher) -> None:
    """The wheels of torch bring gigabytes of it, and which of the two is loaded hangs on search paths."""
    version = file("usr/local/cuda-12.4/version.json", b'{"cuda_cudart": {"version": "12.4.127"}}')
    cuda = opened(layout(tmp_path / "a", (small_image.RELEASE, *libraries("libcudnn.so.9"), version)), fetcher)
    plain = opened(layout(tmp_path / "b", (small_image.RELEASE, *libraries())), fetcher)
    wheels = carried(("torch", "nvidia-cublas-cu12", "nvidia-cuda-runtime-cu12", "nvidia-ml-py"))

    with pytest.raises(
        RefusedError, match=r"has cuda 12\.4\.127, .*the packages nvidia-cublas-cu12, nvidia-cuda"
    ) as it:
        base_image.require_no_cuda_twice(cuda, wheels)
    base_image.require_no_cuda_twice(cuda, carried(("torch", "nvidia-ml-py")))
    base_image.require_no_cuda_twice(plain, wheels)
    assert cuda.locked.release == ""
    assert "name a base without CUDA" in it.value.hint
    released = dataclasses.replace(cuda, locked=msgspec.structs.replace(cuda.locked, release="debian:bookworm"))
    with pytest.raises(RefusedError) as it:
        base_image.require_no_cuda_twice(released, wheels)
    assert "`--base debian:bookworm`" in it.value.hint


def test_a_base_that_is_too_old_for_a_wheel_is_refused(tmp_path: Path, fetcher: Fetcher) -> None:
    image = opened(layout(tmp_path, (small_image.RELEASE, *libraries())), fetcher).locked
    lock = a_lock()
    target = msgspec.structs.replace(lock.targets[0], base=f"oci:@{image.digest}", image=image)
    floors = {lock.distributions[0].wheel.name: "2.17"}
    check_platform(lock, target, floors=floors)

    old = msgspec.structs.replace(target, image=msgspec.structs.replace(image, glibc="2.5"))
    with pytest.raises(RefusedError) as told:
        check_platform(lock, old, floors=floors)
    assert any("needs glibc 2.17 or newer, and the base has 2.5" in line for line in told.value.details)


def test_what_the_registry_does_not_have_as_it_was_named_is_an_error(tmp_path: Path, fetcher: Fetcher) -> None:
    """A tag that is gone, another digest, another processor, an index without the platform, and no login."""
    tar = tar_of(small_image.RELEASE, *libraries())
    with registry.serving(registry.filled(tmp_path, tar)) as fake:
        place = fake.reference.removesuffix(":1")
        assert opened(fake.reference, fetcher).reference == f"{fake.reference}@{hostile.digest(fake.tags['1'][0])}"
        for reference, platform, words in (
            (f"{place}:2", PLATFORM, "does not exist"),
            (f"{place}@sha256:{'0' * 64}", PLATFORM, "does not exist"),
            (f"{place}:1", "linux/arm64", "has no image for linux/arm64"),
        ):
            with pytest.raises(UsageError, match=words):
                opened(reference, fetcher, platform)
        manifest = fake.tags["1"][0]
        described = {"mediaType": hostile.MANIFEST, "digest": hostile.digest(manifest), "size": len(manifest)}
        listed = {**described, "platform": {"os": "linux", "architecture": "s390x"}}
        index = json.dumps({"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": [listed]}).encode()
        fake.tags["many"] = (index, hostile.INDEX)
        with pytest.raises(UsageError, match="has no image for linux/amd64"):
            opened(f"{place}:many", fetcher)
        fake.tags["1"] = (manifest + b" ", hostile.MANIFEST)
        with pytest.raises((UsageError, IntegrityError)):
            opened(f"{place}@sha256:{'1' * 64}", fetcher)
        fake.gate = registry.wants_basic("ada", "s3cret")
        with pytest.raises(UnreachableError, match="wants credentials"):
            opened(f"{place}:1", fetcher)
