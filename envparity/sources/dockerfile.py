"""
What a plain Dockerfile asks for: the Python of its base image's name, and what `pip install` is told
(https://docs.docker.com/reference/dockerfile/). Nothing is run; what is not plain is a gap.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from envparity import codec, files
from envparity.codec.trusted import trusted_text
from envparity.collectors.tree import gap
from envparity.errors import EnvparityError, MalformedError
from envparity.sources.documents import of_python
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.sources.requirements import facts, facts_of
from envparity.values import Environment

TITLE = "a Dockerfile"

_PIP = re.compile(r"(?:\S*/)?(?:pip[\d.]*|python[\d.]*\s+-m\s+pip|uv\s+pip)\s+install\b")
_OTHERS = re.compile(
    r"\b(apt-get|apt|apk|yum|dnf|microdnf|conda|mamba|micromamba|poetry|pipenv|pdm|pixi|uv|curl|wget|make|npm)\b"
)
_WITH_VALUE = {
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--target", "-t", "--prefix"),
    *("--root", "--python", "--cache-dir", "--timeout", "--retries", "--proxy", "--platform", "--no-binary"),
    *("--only-binary", "--global-option", "--config-settings", "-C", "--upgrade-strategy", "--progress-bar", "--src"),
}


@dataclass
class _Stage:
    base: str
    line: int
    commands: list[tuple[int, str]] = field(default_factory=list)
    copied: dict[str, str] = field(default_factory=dict)
    copied_from: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that the last stage of a Dockerfile declares. It is open: what the base image holds is not known.

    Raises:
        MalformedError: not UTF-8, no `FROM`, a requirement that is none.
    """
    stages = _stages(trusted_text(data, f"`{name}`", limit=4 << 20), name)
    chain = _chain(stages)
    folder = (options.base_dir / name).parent
    base = chain[0].base
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    for stage in chain:
        for number, command in stage.commands:
            found += _run(command, f"{name}:{number}", stage, folder)
        for source in stage.copied_from:
            reason = f"something is copied from `{source[:80]}`, which is not read"
            found.append(gap("distributions", "not-recorded", reason, "COPY --from"))
    variables = sorted({variable for stage in chain for variable in stage.names})
    asked = _python(base)
    system = f"it comes from the image `{without_secrets(base)[:120]}`, which is not read"
    found += (gap(section, "not-recorded", system) for section in ("system", "os_packages"))
    if variables:
        found.append({"kind": "settings", "names_only": variables})
    known = ["distributions", "system", "os_packages"]
    known += [*(["python"] if asked else []), *(["settings"] if variables else [])]
    unknown = not_recorded(all_but(*known), "a Dockerfile cannot carry it")
    return codec.environment([*found, *([asked] if asked else []), *unknown], origin("dockerfile", name), open=True)


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Instructions with their continuations joined, and the number of the first line of each; comments are gone."""
    first, parts = 0, []
    heredoc = ""
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if heredoc:
            parts.append(line)
            if line.strip() == heredoc:
                yield first, "\n".join(parts)
                heredoc, parts = "", []
            continue
        if line.lstrip().startswith("#") or (parts and not line.strip()):
            continue
        if not parts:
            first = number
        opened = re.search(r"<<-?['\"]?(\w+)['\"]?", line)
        if opened and re.match(r"\s*(RUN|COPY)\b", line, re.IGNORECASE):
            heredoc, parts = opened[1], [line]
            continue
        if line.rstrip().endswith("\\"):
            parts.append(line.rstrip()[:-1])
            continue
        parts.append(line)
        if "".join(parts).strip():
            yield first, " ".join(parts).strip()
        parts = []
    if parts:
        yield first, " ".join(parts).strip()


def _stages(text: str, name: str) -> dict[str, _Stage]:
    """The stages by name and by number, in order."""
    stages: dict[str, _Stage] = {}
    arguments: dict[str, str] = {}
    current: _Stage | None = None
    count = 0
    for number, instruction in _instructions(text):
        word, _, rest = instruction.partition(" ")
        verb, rest = word.upper(), rest.strip()
        if verb == "ARG" and current is None:
            key, _, value = rest.partition("=")
            arguments[key.strip()] = value.strip().strip("\"'")
        elif verb == "FROM":
            words = [item for item in rest.split() if not item.startswith("--")]
            if not words:
                raise MalformedError("`FROM` names no image", where=f"{name}:{number}")
            current = _Stage(_expanded(words[0], arguments), number)
            stages[words[2].lower() if len(words) == 3 and words[1].upper() == "AS" else str(count)] = current
            count += 1
        elif current is None:
            raise MalformedError(
                f"`{name}` is not {TITLE}: `{word[:40]}` stands before `FROM`", where=f"{name}:{number}"
            )
        elif verb == "RUN":
            current.commands.append((number, rest))
        elif verb in {"COPY", "ADD"}:
            _copy(rest, current)
        elif verb == "ENV":
            current.names += re.findall(r"(?:^|\s)([A-Za-z_]\w*)=", rest) or rest.split()[:1]
    if not stages:
        raise MalformedError(f"`{name}` is not {TITLE}: it has no `FROM`")
    return stages


def _expanded(text: str, arguments: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return arguments.get(found[1] or found[3]) or found[2] or found[0]

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)", value, text)


def _chain(stages: dict[str, _Stage]) -> list[_Stage]:
    """The last stage, and those that it is made from, the first of them first."""
    order = list(stages.values())
    chain = [order[-1]]
    while (
        (below := stages.get(chain[0].base.lower())) is not None and below not in chain and below.line < chain[0].line
    ):
        chain.insert(0, below)
    return chain


def _copy(rest: str, stage: _Stage) -> None:
    origin_stage = re.search(r"--from=(\S+)", rest)
    if origin_stage:
        stage.copied_from.append(origin_stage[1])
        return
    try:
        words = json.loads(rest) if rest.startswith("[") else shlex.split(re.sub(r"--\S+\s+", "", rest))
    except ValueError:
        return
    if not isinstance(words, list) or len(words) < 2:
        return
    for source in map(str, words[:-1]):
        stage.copied[PurePosixPath(source).name] = source


def _python(base: str) -> Fact | None:
    """Python by the name of an official image: `python:3.11-slim`, `docker.io/library/python:3.11.7@sha256:…`."""
    found = re.match(r"(?:docker\.io/)?(?:library/)?python:(\d+\.\d+(?:\.\d+)?)(?:[-@]|$)", base)
    return of_python(found[1]) if found else None


def _run(command: str, where: str, stage: _Stage, folder: Path) -> Iterator[Fact]:
    if command.startswith("["):
        try:
            command = shlex.join(map(str, json.loads(command)))
        except ValueError:
            yield _unknown(command, where)
            return
    command = re.sub(r"^(--\S+\s+)+", "", command)
    for part in re.split(r"&&|\|\||;|\n", command):
        text = " ".join(part.split())
        pip = _PIP.search(text)
        if pip:
            yield from _pip(text[pip.end() :], text, where, stage, folder)
        elif _OTHERS.search(text):
            yield _unknown(text, where)


def _unknown(text: str, where: str) -> Fact:
    return gap("distributions", "not-recorded", f"what this does is not known: {without_secrets(text)[:100]}", where)


def _pip(arguments: str, text: str, where: str, stage: _Stage, folder: Path) -> Iterator[Fact]:
    try:
        words = shlex.split(arguments)
    except ValueError:
        yield _unknown(text, where)
        return
    wanted = []
    position = 0
    while position < len(words):
        word = words[position]
        option, equals, value = word.partition("=")
        position += 1
        if option in {"-r", "--requirement", "-c", "--constraint"} or (
            word.startswith("-r") and not word.startswith("--")
        ):
            target = value if equals else word[2:] if len(word) > 2 and not word.startswith("--") else ""
            if not target and position < len(words):
                target = words[position]
                position += 1
            yield from _file(target, option.startswith(("-c", "--constraint")), where, stage, folder)
        elif option in _WITH_VALUE:
            position += not equals
        elif word in {"-e", "--editable"}:
            position += 1
            yield gap("distributions", "not-recorded", "an editable install of what lies in the image", where)
        elif word.startswith("-"):
            continue
        elif "$" in word:
            yield gap("distributions", "not-recorded", f"it is written with a variable: {word[:80]}", where)
        elif re.match(r"[./~]|[^@:]*/", word) or re.search(r"\.(whl|tar\.gz|zip)$", word):
            yield gap(
                "distributions", "not-recorded", f"it is installed from a file: {without_secrets(word)[:80]}", where
            )
        else:
            wanted.append(word)
    yield from (fact for fact in facts_of(wanted, where, folder) if fact["kind"] != "section")


def _file(target: str, constraint: bool, where: str, stage: _Stage, folder: Path) -> Iterator[Fact]:
    """A requirements file inside the image is one of the build context, if it was copied under its own name."""
    name = PurePosixPath(target).name
    copied = stage.copied.get(name, target if not target.startswith("/") else name)
    path = folder / copied.lstrip("/")
    if constraint or "$" in target or not path.is_file() or folder.resolve() not in path.resolve().parents:
        reason = f"what `{target[:80]}` asks for is not known: there is no such file beside the Dockerfile"
        yield gap("distributions", "not-recorded", "constraints are not applied" if constraint else reason, where)
        return
    try:
        data = files.read_bytes(path, limit=4 << 20, what="requirements file")
        yield from (fact for fact in facts(data, copied, path.parent) if fact["kind"] != "section")
    except EnvparityError as error:
        error.where = error.where or where
        raise
