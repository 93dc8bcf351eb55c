"""
An environment file of conda (`environment.yml`): what somebody asked conda and pip for
(https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, field

from envparity import codec
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.conda_specs import NO_DISTRIBUTIONS, declared, merged, python_of
from envparity.sources.documents import shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.sources.requirements import facts_of
from envparity.values import Environment

TITLE = "an environment file of conda"


class _File(Struct, frozen=True):
    dependencies: tuple[str | dict[str, tuple[str, ...] | None], ...] | None
    channels: tuple[str, ...] | None = field(default=None)
    variables: dict[str, str | int | float | bool | None] | None = field(default=None)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that an `environment.yml` declares. It is open: what it does not name is not known. The prefix of
    the machine that wrote it is not recorded, and of variables only the names.

    Raises:
        MalformedError: not YAML, another shape, a specification that conda or pip would refuse.
    """
    document = codec.load_yaml(data, f"`{name}`", foreign=True)
    file = shaped(document, _File, name, TITLE)
    facts = of_dependencies(file.dependencies or (), name, (options.base_dir / name).parent)
    settings: list[Fact] = [{"kind": "settings", "names_only": sorted(file.variables)}] if file.variables else []
    known = ["conda_packages", "distributions", *(fact["kind"] for fact in facts if fact["kind"] == "python")]
    unknown = not_recorded(all_but(*known, *(["settings"] if settings else [])), "an environment file cannot carry it")
    place = msgspec.structs.replace(
        origin("environment-yml", name), channels=tuple(map(without_secrets, file.channels or ()))
    )
    return codec.environment([*facts, *settings, *unknown], place, open=True)


def of_dependencies(
    dependencies: tuple[str | Mapping[str, tuple[str, ...] | None], ...], name: str, folder: Path
) -> list[Fact]:
    """
    The facts of a list of dependencies: specifications of conda, and below the key `pip` those of pip.

    Raises:
        MalformedError: a specification that conda or pip would refuse, or a key that is not `pip`.
    """
    conda = []
    pip: list[str] = []
    for index, item in enumerate(dependencies):
        where = f"dependencies[{index}]"
        if isinstance(item, str):
            conda.append(declared(item, where))
            continue
        for key, lines in item.items():
            if key != "pip":
                raise MalformedError(f"`{key[:80]}` is a list of dependencies that is not known", where=where)
            pip += lines or ()
    packages = merged(conda, name)
    return [
        {"kind": "section", "section": "conda_packages"},
        *packages,
        *python_of(packages),
        *facts_of(pip, f"{name} (pip)", folder),
        gap("distributions", "not-recorded", NO_DISTRIBUTIONS),
    ]
