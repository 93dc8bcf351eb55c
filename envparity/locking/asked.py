"""What the caller of a lock asks for beyond the snapshot itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from envparity.resolvers import states
from envparity.resolvers.indexes import Indexes
from envparity.values import Environment, Python


def _nobody(proofs: object) -> None:
    """Tell nobody."""


_PYPI_ALONE = Indexes()
_OF_IMAGES = ("registry:", "oci:")


def is_image(base: str) -> bool:
    """Whether a base is the reference of an image, and no release that is assembled."""
    return base.startswith(_OF_IMAGES)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """
    Everything that a lock of one snapshot may be asked for; by default nothing.

    Args:
        base: what the image begins with; the snapshot's own release where none is named.
        indexes: the package indexes, and which distribution is of which.
        allow_incomplete: lock a snapshot that is not whole.
        prove: hold every wheel against its RECORD before the first one is downloaded.
        require: the least state (`matched`, `proven`); none where it is empty.
        explain: told the state of each distribution before a refusal because of it.
        repacked: names of distributions that are packed from where they lie, or `all` for those that the index does
            not serve as installed.
        only_used: leave out what neither the model refers to nor its training had loaded.
        keep: names of distributions that are used although nothing shows it.
        add_os: further packages of the base, by name, each with what it depends on.
        bundle: lay every wheel and package beside the lock.
        bytecode: what images of it hold beside the sources, as `Lock.bytecode` has it.
        environ: what a build backend, where one is needed, is started with.
        interpreter_in: the image, or container, out of which an interpreter is captured that does not lie here.

        dev_exclude: what only development needs: names, or a `pyproject.toml` and one of its groups.
        added: requirements of what goes beside, and did not train the model.
        serve: the server that an image of it will start; what that needs is added too.
        updated: names, or `NAME==VERSION`, of what is moved on purpose.
        resolver: what resolves these two, one of `resolvers.resolve.RESOLVERS`.

        platforms: what is locked for, as `linux/arm64`; the snapshot's own where none is named.
        python_version: the Python that answers there, as `3.11` or `3.11.2`; where it is empty, what the source says.

    Of a source that only says what should be installed:

        extras, groups: the parts of it that are asked for.
        of_platform: the source as it is read for each of several platforms, by their names.
        without: names of distributions that are left out.
        interpreter: the Python that is captured, in the place of the base's own.
    """

    base: str | None = None
    indexes: Indexes = _PYPI_ALONE
    allow_incomplete: bool = False
    prove: bool = False
    require: str = ""
    explain: states.Explain = _nobody
    repacked: Collection[str] = ()
    only_used: bool = False
    keep: Collection[str] = ()
    add_os: Collection[str] = ()
    bundle: bool = False
    bytecode: Literal["none", "unchecked-hash"] = "unchecked-hash"
    environ: Mapping[str, str] = field(default_factory=dict)
    interpreter_in: str = ""
    dev_exclude: Collection[str] = ()
    added: Collection[str] = ()
    serve: str = ""
    updated: Collection[str] = ()
    resolver: str = "uv"
    platforms: Sequence[str] = ()
    python_version: str = ""
    extras: Collection[str] = ()
    groups: Collection[str] = ()
    of_platform: Mapping[str, Environment] = field(default_factory=dict)
    without: Collection[str] = ()
    interpreter: Python | None = None
