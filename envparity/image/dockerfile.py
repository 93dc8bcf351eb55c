"""
An image's plan as a folder that `docker build` takes, for whoever must maintain it by hand
(https://docs.docker.com/reference/dockerfile/).

What the plan says becomes instructions: base, interpreter and conda packages are added as the very layers of the image,
the distributions are installed by pip from hashes, all other files are copied. Byte code of what a person may change
(a pin, the application) is made where the image is built, by the image's own Python. Nothing is ever pasted into a
shell: every value is a quoted word or an item of a JSON array.
"""

from __future__ import annotations

__all__ = [
    "BUILDER",
    "MARKER",
    "WHOLE_BASE",
    "Asked",
    "Pip",
    "added",
    "brings_base",
    "documents",
    "files",
    "in_image",
    "is_text",
    "named",
    "needs_login",
    "pip_for",
]

import dataclasses
import functools
import io
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from envparity import resources
from envparity.errors import RefusedError, UnsupportedError
from envparity.files import Member
from envparity.image import bytecode, stripping, zips
from envparity.image.app import DOCKERFILE_MARKER as MARKER
from envparity.image.app import PLACE as APP
from envparity.image.authorities import PLACE as CA
from envparity.image.contents import PAPERS, Supplies
from envparity.image.findings import must_be_expected
from envparity.image.model import PLACE as MODELS
from envparity.image.plan import PREFIX
from envparity.image.serving import ENTRYPOINT
from envparity.image.serving import PLACE as SERVER
from envparity.oci.entries import Entry
from envparity.values import Lock, LockedDistribution, Options, Plan, PlannedLayer, Step, Target, python_xy

if TYPE_CHECKING:
    from jinja2 import Environment

_T = TypeVar("_T")

_BYTES = re.compile(r"[^/]+\.tar\.gz|(wheels|pip|models)/.*")
"""What nobody edits, and may be of any size; everything else of the folder a person may change."""

BUILDER = "envparity.builder"
"""The label by which an image says that these instructions made it, and so other layers than the planned ones."""

_COPIED = {
    Step.AUTHORITIES: ("authorities", CA),
    Step.MODEL: ("models", MODELS),
    Step.APP: ("app", APP),
    Step.SERVER: ("server", SERVER),
    Step.PAPERS: ("papers", PAPERS),
}
"""What is copied: the folder here, and the one in the image."""

_CODE = (Step.APP, Step.SERVER)
"""Of these, what Python imports."""

_ADDED = {Step.BASE: "base", Step.PACKAGES: "packages", Step.INTERPRETER: "python", Step.CONDA: "conda"}

WHOLE_BASE = "base.tar.gz"
"""All of a base that is no image of a registry."""

_BESIDE = "/installed"
"""Where pip writes in the stage of the distributions, where these go beside conda's packages."""

_PUBLIC = "https://pypi.org/simple"
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True)
class Pip:
    """
    The installer of one build: a wheel that is its own program, and is in no image. `script` is the program that it
    writes for an entry point.
    """

    name: str
    url: str
    sha256: str
    size_bytes: int
    script: str


_SCRIPT = f"#!/{PREFIX}/bin/python\n"

_PIPS = (
    (
        (3, 10),
        Pip(
            name="pip-26.3-py3-none-any.whl",
            url="https://files.pythonhosted.org/packages/07/25/"
            "ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/pip-26.3-py3-none-any.whl",
            sha256="f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13",
            size_bytes=1950951,
            script=_SCRIPT + "import sys\nfrom {module} import {name}\nif __name__ == '__main__':\n"
            "    sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit({function}())\n",
        ),
    ),
    (
        (3, 8),
        Pip(
            name="pip-25.0.1-py3-none-any.whl",
            url="https://files.pythonhosted.org/packages/c9/bc/"
            "b7db44f5f39f9d0494071bddae6880eb645970366d0a200022a1a93d57f5/pip-25.0.1-py3-none-any.whl",
            sha256="c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f",
            size_bytes=1841526,
            script=_SCRIPT + "# -*- coding: utf-8 -*-\nimport re\nimport sys\nfrom {module} import {name}\n"
            "if __name__ == '__main__':\n"
            "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    sys.exit({function}())\n",
        ),
    ),
)
"""By the oldest Python that it runs on."""


def pip_for(supplies: Supplies) -> tuple[Pip, ...]:
    """
    The pip that installs for the locked Python; none where there is nothing to install.

    Raises:
        UnsupportedError: that Python is too old for any.
    """
    python = supplies.target.interpreter.version
    major, minor = (int(part) for part in python.split(".")[:2])
    if not supplies.lock.distributions:
        return ()
    for floor, pip in _PIPS:
        if (major, minor) >= floor:
            return (pip,)
    raise UnsupportedError(f"no pip is known that installs for Python {python}", hint="`envparity build` needs none")


@dataclass(frozen=True)
class Asked:
    """
    What a Dockerfile is written for: `vendor` for one that needs no network, `lock_name` as people call the lock,
    `requirements` as pip reads them, and `runtime`, the configuration of the image
    (`configuration.runtime`).
    """

    vendor: bool
    lock_name: str
    requirements: str
    runtime: Mapping[str, Any]


def files(
    plan: Plan,
    supplies: Supplies,
    blobs: Mapping[int, Path],
    program: Sequence[Path],
    *,
    vendor: bool,
    base: Path | None = None,
) -> Iterator[Member]:
    """
    Every file of the folder but the texts, and the folders that they lie in: the added layers (`blobs`, by their number
    in the plan), pip (`program`, as `pip_for` names it), wheels, what compiles, and what is copied; and a `base` that
    comes along (`brings_base`).
    """
    members = {member.path: member for member in _files(plan, supplies, blobs, program, vendor=vendor)}
    if base is not None:
        members[WHOLE_BASE] = _member(WHOLE_BASE, base)
    # Whoever may not read the folders of an image by their modes cannot start it: those of here are what these become.
    above = {str(parent) for path in members for parent in PurePosixPath(path).parents if parent.name}
    yield from (Member(path, "folder", 0o755) for path in sorted(above - members.keys()))
    yield from members.values()


def _files(
    plan: Plan, supplies: Supplies, blobs: Mapping[int, Path], program: Sequence[Path], *, vendor: bool
) -> Iterator[Member]:
    for number, name in added(plan).items():
        yield _member(name, blobs[number])
    for pip, place in zip(pip_for(supplies), program, strict=True):
        yield _member(f"pip/{pip.name}", place)
    for item in _wheels(supplies.lock, vendor=vendor):
        yield _member(f"wheels/{item.wheel.name}", supplies.files[item.wheel.sha256])
    if _compiles(plan, supplies):
        yield _of_ours("bytecode", "compile.py")
        text = bytecode.program()
        yield Member("bytecode/compiling.py", "file", 0o644, open=functools.partial(io.BytesIO, text.encode()))
    sheets = _sheets(supplies)
    if sheets:
        yield _of_ours("stripped", "strip.py")
        for entry in sheets:
            yield Member(f"stripped/{_last(entry.path)}", "file", 0o644, open=functools.partial(_opened, entry))
    for layer, entries in _copied(plan, supplies):
        folder, below = _COPIED[layer.step]
        for entry in entries:
            path = f"{folder}{entry.path.removeprefix(below)}"
            yield Member(path, entry.kind, entry.mode, entry.target, functools.partial(_opened, entry))


def _copied(plan: Plan, supplies: Supplies) -> Iterator[tuple[PlannedLayer, list[Entry]]]:
    """The layers whose files are copied as they are; without byte code, which a person's change would make wrong."""
    plain = dataclasses.replace(supplies, bytecode=None)
    return ((layer, plain.entries(layer)) for layer in plan.layers if layer.step in _COPIED)


def _of_ours(folder: str, name: str) -> Member:
    """A program of ours that runs where the image is built."""
    data = resources.templates().joinpath("dockerfile", name).read_bytes()
    return Member(f"{folder}/{name}", "file", 0o644, open=functools.partial(io.BytesIO, data))


def _sheets(supplies: Supplies) -> list[Entry]:
    """What is left out of each wheel of which anything is, as the file of the image that says so."""
    if not supplies.strip:
        return []
    entries = (entry for item in supplies.lock.distributions for entry in supplies.wheel(item.wheel.sha256))
    return [entry for entry in entries if entry.path.startswith(f"{stripping.PLACE}/")]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _compiles(plan: Plan, supplies: Supplies) -> bool:
    """Whether byte code is made where the image is built."""
    modules = bool(supplies.lock.distributions) or any(layer.step in _CODE for layer in plan.layers)
    return modules and supplies.lock.bytecode != "none"


def in_image(step: Step, found: Mapping[str, _T]) -> dict[str, _T]:
    """Of what was copied, by its path in the folder, that of one kind: by its path in the image."""
    folder, below = _COPIED[step]
    return {
        f"{below}{path.removeprefix(folder)}": value
        for path, value in found.items()
        if path == folder or path.startswith(f"{folder}/")
    }


def documents(plan: Plan, supplies: Supplies, asked: Asked) -> dict[str, str]:
    """
    The texts of the folder, by their names. Equal arguments give equal texts.

    Raises:
        RefusedError: a value of the configuration cannot stand in a Dockerfile.
    """
    lock, target = supplies.lock, supplies.target
    runtime = asked.runtime
    layers = added(plan)
    wheels = list(_wheels(lock, vendor=asked.vendor))
    steps = dict.fromkeys(layer.step for layer in plan.layers if layer.step in _COPIED)
    code = [(_COPIED[step][0], f"/{_COPIED[step][1]}") for step in steps if step in _CODE]
    secret = not asked.vendor and needs_login(lock)
    conda = target.interpreter.kind == "conda"
    compiles = _compiles(plan, supplies)
    image = named(target)
    bare = bool(image) and any(item.kind == "variable" for item in target.left_out)
    stripped = bool(_sheets(supplies))
    site = f"/{PREFIX}/lib/python{python_xy(target.interpreter.version)}"
    values = {
        "lock_name": _comment(asked.lock_name),
        "verify": [*map(_comment, _verifying(plan.options, lock))],
        "platform": target.platform,
        "base": _comment(target.base),
        "image": image,
        "whole": brings_base(target),
        "bare": bare,
        "packages": any(layer.step is Step.PACKAGES for layer in plan.layers),
        "python": _of_python(target),
        "conda": [name for number, name in layers.items() if plan.layers[number].step is Step.CONDA],
        "distributions": len(lock.distributions),
        "vendor": asked.vendor,
        "wheels": bool(wheels),
        "secret": secret,
        "secret_flags": "--secret id=netrc,src=NETRC " if secret else "",
        "secret_mount": "--mount=type=secret,id=netrc " if secret else "",
        "install": [line for pip in pip_for(supplies) for line in _install(pip, asked.vendor, beside=conda)],
        "compiles": compiles,
        "compile_distributions": _compile(site, beside=conda),
        "compile_application": _compile(*(place for _, place in code)),
        "strip": _strip(f"{site}/site-packages", beside=conda) if stripped else "",
        "sheets": f"/{stripping.PLACE}/" if stripped and not conda else "",
        "compiled": _array([f"/{PREFIX}/bin/python", "-B", "-c", _WITHOUT_COMPILED]) if _compiled(supplies) else "",
        # Beside conda's packages only what pip wrote is taken: all of the prefix would be there twice.
        "installed": f"{_BESIDE}/" if conda else f"/{PREFIX}/",
        "installed_to": "/" if conda else f"/{PREFIX}/",
        "code": code,
        "copied": [(_COPIED[step][0], f"/{_COPIED[step][1]}") for step in steps],
        "labels": [f"{name}={_word(value)}" for name, value in {**runtime["Labels"], BUILDER: "dockerfile"}.items()],
        "variables": [f"{name}={_word(value)}" for name, _, value in (line.partition("=") for line in runtime["Env"])],
        "workdir": _path(runtime["WorkingDir"]),
        "user": runtime["User"],
        "ports": sorted(runtime.get("ExposedPorts") or ()),
        "health_check": _health_check(runtime.get("Healthcheck") or {}) or ("NONE" if image and not bare else ""),
        "entrypoint": _array(runtime["Entrypoint"]),
    }
    names = [*layers.values(), *(["pip", "requirements.txt"] if lock.distributions else [])]
    names += [*(["wheels"] if wheels else []), *(["bytecode"] if compiles else [])]
    names += ["stripped"] if stripped else []
    names += [WHOLE_BASE] if brings_base(target) else []
    names += [_COPIED[step][0] for step in steps]
    templates = _templates()
    texts = {
        "Dockerfile": templates.get_template("Dockerfile.j2").render(values),
        ".dockerignore": templates.get_template("dockerignore.j2").render(names=names),
        "packages.txt": templates.get_template("packages.txt.j2").render(
            base=_comment(target.base),
            archive="base.tar.gz" if target.image is None else "packages.tar.gz",
            packages=sorted(target.os_packages, key=lambda item: item.name),
        ),
    }
    return texts | ({"requirements.txt": asked.requirements} if lock.distributions else {})


def is_text(path: str) -> bool:
    """Whether a file of the folder is one that a person may want to change."""
    return _BYTES.fullmatch(path) is None


def added(plan: Plan) -> dict[int, str]:
    """The layers that are added as they are: number in the plan -> name of the file."""
    ends = ".tar.gz"
    found: dict[int, str] = {}
    for number, layer in enumerate(plan.layers):
        if layer.step is Step.CONDA:
            found[number] = f"conda-{1 + sum(name.startswith('conda-') for name in found.values()):02}{ends}"
        elif layer.step in _ADDED:
            found[number] = f"{_ADDED[layer.step]}{ends}"
    return found


def _wheels(lock: Lock, *, vendor: bool) -> Iterator[LockedDistribution]:
    """What lies in `wheels/`: everything, or what no index has."""
    return (item for item in lock.distributions if vendor or item.repacked is not None)


def needs_login(lock: Lock) -> bool:
    """Whether any distribution comes from another place than the public index."""
    return any(
        item.repacked is None
        and item.index.rstrip("/") != _PUBLIC
        and not item.wheel.url.startswith("https://files.pythonhosted.org/")
        for item in lock.distributions
    )


def _install(pip: Pip, vendor: bool, *, beside: bool) -> list[str]:
    """The words of the command that installs, each as an item of a JSON array; those that belong together as one."""
    from_where = [("--no-index", "--find-links", "wheels")] if vendor else [("--only-binary", ":all:", "--no-input")]
    lines = [
        (f"/{PREFIX}/bin/python", "-B", f"pip/{pip.name}/pip", "install"),
        *from_where,
        ("--require-hashes", "--no-deps", "--requirement", "requirements.txt"),
        *([("--root", _BESIDE, "--ignore-installed")] if beside else []),
        ("--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action", "ignore"),
    ]
    return [_array(line)[1:-1] for line in lines]


def _compile(*folders: str, beside: bool = False) -> str:
    """The command that compiles every module below some folders of the image."""
    where = ["--root", _BESIDE] if beside else []
    return _array([f"/{PREFIX}/bin/python", "-B", "bytecode/compile.py", *where, *folders])


def _strip(site: str, *, beside: bool) -> str:
    """The command that takes out what serves nobody."""
    where = ["--root", _BESIDE] if beside else []
    return _array([f"/{PREFIX}/bin/python", "-B", "stripped/strip.py", *where, site])


def _of_python(target: Target) -> str:
    """What `python.tar.gz` brings, as a comment."""
    python = target.interpreter
    if python.kind == "captured":
        return f"Python {python.version}, as it trained the model, and the virtual environment that everything goes to."
    if python.kind == "conda":
        return f"Where conda's packages go, Python {python.version} among them."
    return f"The virtual environment that everything goes to, of the base's Python {python.version}."


def brings_base(target: Target) -> bool:
    """Whether the base is an image that lies where no builder looks: then the folder has it, as one tar."""
    return target.image is not None and not target.lies_in_registry


def named(target: Target) -> str:
    """A base that is an image in a registry, as `FROM` names it; "" of any other."""
    if target.image is None or brings_base(target):
        return ""
    return f"{target.base.removeprefix('registry:').partition('@')[0]}@{target.image.digest}"


_WITHOUT_COMPILED = (
    "import pathlib, shutil, sysconfig;"
    " [shutil.rmtree(place) for place in pathlib.Path(sysconfig.get_path('purelib')).rglob('__pycache__')]"
)


def _compiled(supplies: Supplies) -> bool:
    """Whether a wheel brings byte-compiled code. An image leaves it out, and pip does not."""
    return any(
        "__pycache__/" in member.name
        for item in supplies.lock.distributions
        for member in zips.members(supplies.files[item.wheel.sha256], item.wheel.name)
    )


def _member(path: str, source: Path) -> Member:
    return Member(path, "file", 0o644, open=lambda: source.open("rb"))


def _opened(entry: Entry) -> BinaryIO:
    return entry.content() if callable(entry.content) else io.BytesIO(entry.content or b"")


def _verifying(options: Options, lock: Lock) -> list[str]:
    """The command that verifies such an image, as lines: with all that decides which code runs, which no lock knows."""
    plain = Options()
    said = [f"--env {item.name}={item.value}" for item in options.env if must_be_expected(item.name, lock)]
    said += [f"--user {options.user}"] if options.user.partition(":")[0].strip("0") == "" else []
    if options.entrypoint not in {plain.entrypoint, *([ENTRYPOINT] if options.serve else [])}:
        said.append(f"--entrypoint {shlex.join(options.entrypoint)}")
    said += [f"--health {shlex.join(options.health)}"] if options.health else []
    app = " --app app" if options.app is not None else ""
    words = (each.partition(" ") for each in said)
    return [
        f"envparity verify docker:NAME --against LOCK{app}",
        *(f"{flag} {shlex.quote(it)}" for flag, _, it in words),
    ]


def _word(text: str) -> str:
    """
    A text in quotes, in which the builder finds nothing to fill in. In single quotes all is as it stands, up to the
    next one, and that is easier to read; what they cannot hold stands in double ones, where a backslash takes the sense
    of what follows (https://docs.docker.com/reference/dockerfile/#environment-replacement).
    """
    if re.search(r"[\r\n\0]", text):
        raise RefusedError(
            f"a Dockerfile cannot hold the value `{text[:60]!a}`: a line ends in it",
            hint="leave it out, and set it where the container is started",
        )
    if not re.search(r'["$\\]', text):
        return f'"{text}"'
    parts = (part for part in re.split(r"('|\\+(?=')|\\+\Z)", text) if part)
    return "".join(_in_double_quotes(part) if part[0] == "'" or part[-1] == "\\" else f"'{part}'" for part in parts)


def _in_double_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\")
    return f'"{escaped}"'


def _path(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _word(text)


def _array(words: Iterable[str]) -> str:
    """The "exec form": a JSON array, of which nothing is filled in and which no shell reads."""
    return json.dumps(list(words))


def _health_check(check: Mapping[str, Any]) -> str:
    if not check:
        return ""
    flags = {
        "--interval": check.get("Interval"),
        "--timeout": check.get("Timeout"),
        "--start-period": check.get("StartPeriod"),
    }
    said = [f"{flag}={value // 1_000_000_000}s" for flag, value in flags.items() if value]
    said += [f"--retries={check['Retries']}"] if check.get("Retries") else []
    return " ".join([*said, "CMD", _array(check["Test"][1:])])


def _comment(text: str) -> str:
    """A text as a comment may hold it: one line, and nothing that a terminal obeys."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _templates() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

    folder = resources.templates().joinpath("dockerfile")
    return Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=select_autoescape(),  # of HTML; here every value is a quoted word, or one of a JSON array
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
