"""
What a team shares of how it uses envparity: `envparity.yaml` beside its code.

It names targets (`prod: registry:…`), the policy, rules of the team's own, and defaults of options. A variable of the
environment (ENVPARITY_DIFF_FAIL_ON) is stronger than the file, and a flag is stronger than both.
"""

from __future__ import annotations

__all__ = ["POLICY", "Settings", "check", "load", "written"]

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from envparity import codec, files
from envparity.errors import MalformedError, UsageError

_LOCAL = ("venv", "conda", "oci", "docker-archive", "python")

TargetName = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Value = bool | int | str | list[str]


class _Document(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: int = 1
    targets: dict[TargetName, Annotated[str, Meta(min_length=1)]] = {}
    default: str = ""
    policy: str = ""
    knowledge: tuple[str, ...] = ()
    options: dict[str, dict[str, Value]] = {}


class Settings(Struct, frozen=True, kw_only=True):
    """
    The settings, with every path as it is seen from where the command runs. `default` is the target of a comparison
    that names none; `options` are defaults of options, by verb and by name without the dashes.
    """

    path: Path
    targets: Mapping[str, str]
    default: str
    policy: str
    knowledge: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]

    def reference(self, name: str) -> str:
        """
        The source that a name stands for; anything else is given back as it is.

        Raises:
            UsageError: it is the name of a target, and of a file too.
        """
        if name not in self.targets:
            return name
        if os.path.lexists(name):
            raise UsageError(
                f"`{name}` is a target of {self.path}, and a file here too",
                hint=f"write `./{name}` for the file, or `{self.targets[name]}` for the target",
            )
        return self.targets[name]


def load(path: str | Path) -> Settings:
    """
    What a file of settings says.

    Raises:
        MalformedError: it is no such document, or of a newer version; the place of the mistake is named.
        UsageError, UnreachableError: it cannot be read.
    """
    what = os.path.relpath(path)
    document = check(files.read_bytes(path), what)
    folder = Path(os.path.relpath(Path(path).parent))
    return Settings(
        path=Path(what),
        targets={name: _seen_from_here(reference, folder) for name, reference in document.targets.items()},
        default=document.default,
        policy=_beside(document.policy, folder),
        knowledge=tuple(_beside(name, folder) for name in document.knowledge),
        options=document.options,
    )


def check(data: bytes, what: str) -> _Document:
    """
    The document of settings, without a look at where its paths lead.

    Raises:
        MalformedError: as `load` does.
    """
    document = codec.document(data, what, _Document)
    if document.default and document.default not in document.targets:
        raise MalformedError(
            f"{what} is not valid: the default `{document.default}` is none of its targets",
            where="default",
            hint=f"its targets: {', '.join(document.targets) or 'none'}",
        )
    return document


def _beside(name: str, folder: Path) -> str:
    return str(folder / name) if name else ""


def _seen_from_here(reference: str, folder: Path) -> str:
    scheme, colon, rest = reference.partition(":")
    if not colon:
        return _beside(reference, folder)
    if scheme in _LOCAL and (scheme != "python" or "/" in rest):
        return f"{scheme}:{_beside(rest, folder)}"
    return reference


def written(targets: Mapping[str, str], default: str, policy: str) -> str:
    """The text of such a file, with what else may stand in it as comments."""
    lines = [
        "# What envparity knows of this project. Flags are stronger, and so are variables (ENVPARITY_DIFF_FAIL_ON).",
        "schema: 1",
        "",
        "# What `envparity diff model.env.json prod` compares with: any source that the commands take.",
        "targets:" if targets else "# targets:\n#   prod: registry:registry.example.com/model:latest",
        *(f"  {name}: {_quoted(reference)}" for name, reference in targets.items()),
        "",
        "# The target of a bare `envparity diff`.",
        f"default: {_quoted(default)}" if default else "# default: prod",
        "",
        "# What the team decided of findings.",
        f"policy: {_quoted(policy)}" if policy else "# policy: parity.yaml",
        "",
        "# Rules of your own, in the schema of those that ship (docs/diff.md).",
        "# knowledge: [rules.yaml]",
        "",
        "# Defaults of options, by command.",
        "# options:",
        "#   diff: {fail-on: medium}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A JSON text is a YAML text.
    return json.dumps(text, ensure_ascii=False)


POLICY = """\
# What the team decided of findings. An exception says why, who answers for it, and until which day it holds.
schema: 1

# The least severity that fails; `--fail-on` is stronger.
fail_on: high

ignore: []
# - rule: sklearn-tfidf-idf-lost     # or distribution, section, item, field, before, after, effect, severity, target
#   reason: the model was exported without it
#   owner: ml-platform
#   until: 2027-01-31

lower: []
# - distribution: tqdm
#   to: low
#   reason: it draws progress bars
#   owner: ml-platform
#   until: 2027-01-31

raise: []
# - effect: silent-numeric
#   to: critical
#   reason: the numbers are reported to a regulator

forbid: []
# - distribution: tensorflow
#   reason: not approved for this service

require: []
# - distribution: numpy
#   versions: "<2"
#   reason: the feature store reads its pickles
"""
