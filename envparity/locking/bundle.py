"""Every wheel and package of a lock beside it: an image of it is then built without a network or a cache."""

from __future__ import annotations

import dataclasses

import msgspec

from envparity.errors import RefusedError
from envparity.fetch import Fetcher, Wanted
from envparity.image.supply import Mirrors, conda_wanted
from envparity.lockfile import Recovered
from envparity.values import Lock


def bundled(recovered: Recovered, *, fetcher: Fetcher, mirrors: Mirrors) -> Recovered:
    """
    The same lock with all that it names among its artifacts: wheels under their own names, packages of the base under
    those of the archive, and packages of conda with their platform before it.

    Raises:
        RefusedError: two of the files have one name. UnreachableError, IntegrityError: of what is fetched.
    """
    wanted: dict[str, Wanted] = {}
    for name, item in _files(recovered.lock, mirrors, fetcher):
        if name in recovered.artifacts or wanted.setdefault(name, item).sha256 != item.sha256:
            raise RefusedError(
                f"two files of the lock are called `{name}`, and both cannot lie in one folder",
                hint="lock without --bundle: `build` fetches each from its own place",
            )
    files = fetcher.blobs(list(wanted.values()), "files of the bundle")
    lock = msgspec.structs.replace(recovered.lock, bundled=True)
    artifacts = {**recovered.artifacts, **dict(zip(wanted, files, strict=True))}
    return dataclasses.replace(recovered, lock=lock, artifacts=artifacts)


def _files(lock: Lock, mirrors: Mirrors, fetcher: Fetcher) -> list[tuple[str, Wanted]]:
    wheels = [
        (wheel.name, Wanted(wheel.name, (wheel.url,), wheel.sha256, wheel.size_bytes))
        for item in lock.distributions
        if item.repacked is None
        for wheel in item.wheels
    ]
    packages = [
        (item.beside, mirrors(target, item, fetcher.mirrors)) for target in lock.targets for item in target.os_packages
    ]
    conda = [(item.beside, conda_wanted(item)) for target in lock.targets for item in target.conda_packages]
    return [*wheels, *packages, *conda]
