"""An image that was just made is held against its lock before it has a name: what a bad cache puts in is seen."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec
import pytest

from envparity.cache import Cache
from envparity.errors import IntegrityError, RefusedError
from envparity.locking import drift
from envparity.oci.image import BuiltImage
from envparity.values import Lock, LockedInterpreter
from tests.e2e import small_image
from tests.oci.made import built
from tests.values import SOME_SHA256, a_lock
from tests.writers.samples import pinned

PYTHON = platform.python_version()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """This test's own Python, and one distribution."""
    folder = tmp_path_factory.mktemp("drift")
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]}
    return built(folder, small_image.interpreter(), small_image.distribution("six", "1.16.0"), config=config)


def lock(version: str = "1.16.0", python: str = PYTHON) -> Lock:
    interpreter = LockedInterpreter(kind="base", version=python, executable="/usr/local/bin/python3")
    target = msgspec.structs.replace(a_lock().targets[0], interpreter=interpreter, os_packages=(), substituted=())
    return a_lock(distributions=(pinned("six", version),), targets=(target,))


def test_an_image_that_is_its_lock_is_looked_into_once(image: BuiltImage, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    look = drift.require_none(image, lock(), SOME_SHA256, cache)
    gone = BuiltImage(image.config_bytes, image.manifest_bytes, (), image.platform)

    assert look.facts >= 2
    assert not look.unseen
    assert drift.require_none(gone, lock(), SOME_SHA256, cache) == look


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (lock("1.17.0"), "distributions six: 1.17.0 was locked, and the image has 1.16.0"),
        (lock(python="3.8.1"), f"python: 3.8.1 was locked, and the image has {PYTHON}"),
        (
            msgspec.structs.replace(lock(), distributions=(*lock().distributions, pinned("joblib"))),
            "distributions joblib: 1.0 was locked, and the image has nothing",
        ),
    ],
    ids=["another version", "another Python", "one is missing"],
)
def test_an_image_of_something_else_is_refused_and_never_noted(
    wanted: Lock, says: str, image: BuiltImage, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(RefusedError, match="is not the environment of its lock") as caught:
            drift.require_none(image, wanted, SOME_SHA256, cache)
        assert says in caught.value.details


def test_a_layer_that_is_not_what_its_digest_says_is_an_integrity_error(image: BuiltImage, tmp_path: Path) -> None:
    (descriptor, _), upper = image.layers
    (tmp_path / "damaged").write_bytes(b"x" * descriptor.size_bytes)
    layers = ((descriptor, tmp_path / "damaged"), upper)
    damaged = BuiltImage(image.config_bytes, image.manifest_bytes, layers, image.platform)

    with pytest.raises(IntegrityError):
        drift.require_none(damaged, lock(), SOME_SHA256, Cache(tmp_path / "cache"))


def test_where_a_layer_is_not_here_or_damaged_in_the_cache_nothing_is_looked_at_and_the_layer_is_named(
    image: BuiltImage, tmp_path: Path
) -> None:
    """A registry that has it is not sent it again: to fetch it for a look alone would cost more than the build."""
    cache = Cache(tmp_path / "cache")
    lower, (descriptor, place) = image.layers
    assert isinstance(place, Path)
    sha256 = descriptor.digest.removeprefix("sha256:")
    cache.adopt([place.read_bytes()], sha256=sha256, size_bytes=descriptor.size_bytes, what="a layer")
    kept = cache.blob(sha256)
    assert kept is not None
    kept.chmod(0o600)
    kept.write_bytes(b"x" * descriptor.size_bytes)
    for where in (kept, tmp_path / "nowhere", lambda: tmp_path / "nowhere"):
        layers = (lower, (descriptor, where))
        changed = BuiltImage(image.config_bytes, image.manifest_bytes, layers, image.platform)

        assert drift.require_none(changed, lock("1.17.0"), SOME_SHA256, cache) == drift.Look(0, (2,))
