"""
An environment file of conda, with all distributions in its pip part
(https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html).
"""

from __future__ import annotations

import json
import re

from envparity.writers.contents import Contents, Exported, counted, interpreter, os_packages, packages
from envparity.writers.requirements import pip_lines


def environment(contents: Contents) -> Exported:
    """
    The same version of Python from conda-forge, the locked wheels by pip, and the settings as variables.

    It is not the interpreter of the lock: conda builds its own. With a hash on every line pip takes no other file, and
    refuses what a distribution requires and the lock does not have.
    """
    if contents.target.conda_packages:
        return _of_conda(contents)
    lock, version = contents.lock, contents.target.interpreter.version
    lines = [
        f"# Made by `envparity export` of the lock with the sha256 {contents.sha256}",
        f"# for {contents.target.platform}",
        f"name: {_text(re.sub(r'[ /:#]', '-', contents.name))}",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - {_text(f'python=={version}')}",
        "  - pip",
        *(["  - pip:"] if lock.distributions else []),
        *(f"      - {_text(line)}" for line in pip_lines(contents)),
        *(["variables:"] if lock.settings else []),
        *(f"  {_text(setting.name)}: {_text(setting.value)}" for setting in lock.settings),
    ]
    left_out = (interpreter(contents), *packages(contents), *counted(len(lock.models), "model"))
    return Exported("".join(f"{line}\n" for line in lines), left_out)


def _of_conda(contents: Contents) -> Exported:
    """Name, version and build of each conda package, in the channels of the lock alone; the locked wheels by pip."""
    lock, target = contents.lock, contents.target
    channels = sorted({item.channel for item in target.conda_packages})
    has_pip = any(item.name == "pip" for item in target.conda_packages)
    lines = [
        f"# Made by `envparity export` of the lock with the sha256 {contents.sha256}",
        f"# for {target.platform}",
        f"name: {_text(re.sub(r'[ /:#]', '-', contents.name))}",
        "channels:",
        *(f"  - {_text(channel)}" for channel in channels),
        "  - nodefaults",
        "dependencies:",
        *(f"  - {_text(f'{item.name}={item.version}={item.build}')}" for item in target.conda_packages),
        *(["  - pip"] if lock.distributions and not has_pip else []),
        *(["  - pip:"] if lock.distributions else []),
        *(f"      - {_text(line)}" for line in pip_lines(contents)),
        *(["variables:"] if lock.settings else []),
        *(f"  {_text(setting.name)}: {_text(setting.value)}" for setting in lock.settings),
    ]
    hashes = counted(len(target.conda_packages), "sha256", " of conda packages")
    left_out = (*hashes, *os_packages(contents), *counted(len(lock.models), "model"))
    return Exported("".join(f"{line}\n" for line in lines), left_out)


def _text(text: str) -> str:
    """A text in double quotes. What JSON escapes YAML reads alike; what YAML takes for a line break is escaped too."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)
