"""What the wheels of one platform stand on: interpreter and base, since each says what the other has to bring."""

from __future__ import annotations

__all__ = ["Ground", "target"]

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envparity.errors import RefusedError
from envparity.fetch import Fetcher
from envparity.image import cuda
from envparity.locking import conda, selection
from envparity.locking.asked import Asked
from envparity.locking.wheels import Wheels
from envparity.resolvers import interpreter, interpreter_of_image, package_lists
from envparity.values import Environment, LeftOut, Origin, OsPackage, Python, Substituted, Target

if TYPE_CHECKING:
    from envparity.locking import base_image


@dataclass(frozen=True, kw_only=True)
class Ground:
    """
    What is known of it before the wheels are.

    Args:
        platform: `linux/arm64`. base: by its name.
        image: the base, where it is an image of somebody else's.
        python: the interpreter that answers.
        installed: the OS packages of the source.
        index: what the archive of the base holds, where that was read before.
        substituted: what is another one than the source's, whatever is decided.
    """

    platform: str
    base: str
    image: base_image.BaseImage | None
    python: Python
    installed: tuple[OsPackage, ...]
    index: package_lists.Index | None
    substituted: tuple[Substituted, ...]

    @property
    def architecture(self) -> str:
        """As images and Debian name it: `arm64`."""
        return self.platform.partition("/")[2]


def target(
    ground: Ground,
    wheels: Wheels,
    of_conda: conda.Conda,
    environment: Environment,
    left_out: Iterable[LeftOut],
    *,
    asked: Asked,
    fetcher: Fetcher,
    workplace: Path,
) -> tuple[Target, dict[str, Path]]:
    """
    What a lock says of one platform, and what of it lies beside the lock.

    Args:
        left_out: what was left out of the distributions.

    Raises:
        RefusedError: the interpreter lies in an image that was not named.
        And what `interpreter.resolve`, `base_image.decided` and `conda.decided` raise.
    """
    bring = partial(_brought, asked=asked, workplace=workplace, fetcher=fetcher, origin=environment.origin)
    beside: dict[str, Path] = {}
    if ground.image is not None:
        from envparity.locking import base_image

        names = (item.name for item in wheels.distributions)
        of_cuda = cuda.carried(names, (it.name for it in of_conda.packages), environment.native_libraries or ())
        base_image.require_no_cuda_twice(ground.image, of_cuda)
        decided = base_image.decided(
            ground.python,
            ground.image,
            architecture=ground.architecture,
            installed=ground.installed,
            sonames=wheels.sonames,
            settings={item.name: item.value for item in selection.settings(environment)},
            workplace=workplace,
            fetcher=fetcher,
            add=asked.add_os,
            bring=bring,
            of_conda=of_conda,
        )
        beside = base_image.artifacts(ground.image, workplace, bundle=asked.bundle)
    elif of_conda.packages:
        decided = conda.decided(
            ground.python,
            of_conda,
            base=ground.base,
            architecture=ground.architecture,
            os_packages=ground.installed,
            sonames=wheels.sonames,
            add=asked.add_os,
            fetcher=fetcher,
        )
    else:
        decided = interpreter.resolve(
            ground.python,
            base=ground.base,
            architecture=ground.architecture,
            installed=ground.installed,
            sonames=wheels.sonames,
            workplace=workplace,
            fetcher=fetcher,
            add=asked.add_os,
            index=ground.index,
            bring=bring,
        )
    made = Target(
        platform=ground.platform,
        base=ground.base,
        image=ground.image.locked if ground.image is not None else None,
        interpreter=decided.interpreter,
        conda_packages=of_conda.packages,
        virtual_packages=of_conda.virtual,
        os_packages=decided.os_packages,
        suites=decided.suites,
        substituted=(*ground.substituted, *decided.substituted),
        left_out=(*left_out, *decided.left_out),
        added_os=tuple(sorted(set(asked.add_os))),
    )
    return made, beside


def _brought(python: Python, *, asked: Asked, workplace: Path, fetcher: Fetcher, origin: Origin) -> Python:
    """The interpreter as it lies on this machine: where the snapshot says, or out of the image that was named."""
    if asked.interpreter_in:
        place = workplace / "interpreter"
        return interpreter_of_image.brought(python, asked.interpreter_in, place, fetcher=fetcher, environ=asked.environ)
    place_of_it = origin.reference.partition("@")[0]
    if interpreter_of_image.is_image(place_of_it):
        raise RefusedError(
            f"Python {python.version} lies in `{place_of_it}`, and the base has another release of it",
            hint=f"name the place, so that it can be captured: `--python {place_of_it}`",
        )
    return python
