"""A project that is installed as editable becomes a wheel, by its own build backend and apart from where it lies."""

from __future__ import annotations

__all__ = ["BuildError", "Source", "build"]

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envparity.errors import UnreachableError, plain
from envparity.files import private_folder
from envparity.lineage.git import Git, GitError, executable
from envparity.lineage.repository import repository
from envparity.process import Command, run
from envparity.values import Distribution, Python

LIMIT_S = 1800.0

# What is no source: a build that finds what an older one left packs files that are gone since. The last are our own.
_LEFT = (
    *("__pycache__", "*.egg-info", "build", "dist", "venv", ".venv", ".git", ".hg", ".tox", ".nox", "node_modules"),
    *("*.env.json", "pylock.toml", "pylock.*.toml", "pylock.artifacts", "pylock.*.artifacts", ".pylock.*"),
)
_STARTS = ("PYTHON", "VIRTUAL_ENV", "CONDA_", "PIP_", "UV_", "SETUPTOOLS_", "ENVPARITY_")


class BuildError(Exception):
    """Why there is no wheel, and what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


@dataclass(frozen=True)
class Source:
    """
    The repository that a project lies in, without its place on this machine; empty where it lies in none. `dirty` is
    whether its tracked files differ from the commit, or one was built that is in no commit.
    """

    url: str
    commit: str
    dirty: bool | None


@contextmanager
def build(item: Distribution, python: Python, environ: Mapping[str, str]) -> Iterator[tuple[Path, Source]]:
    """
    The wheel of an editable distribution, for as long as the block lasts, and what it was made of.

    The backend runs in an environment of its own (`uv build`; `pip wheel` where there is no uv), on a copy of the
    folder: nothing is left in the project, and nothing that an older build left there gets in. It is the one place
    where a lock runs code of the training environment, and it is asked for by name.

    Raises:
        BuildError: the project is not here, its backend fails, or makes something else.
        UnreachableError: there is neither uv nor pip. TimeLimitError: it takes too long.
    """
    folder = _folder(item)
    source = _source(folder, environ)
    with private_folder() as workplace:
        copy, out = workplace / "source" / folder.name, workplace / "wheel"
        try:
            shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT))
        except (shutil.Error, OSError) as error:
            raise BuildError(f"its project `{folder}` cannot be copied: {error}", "check who may read it") from error
        out.mkdir()
        yield _wheel(item, _argv(python, environ, copy, out), environ, out), source


def _folder(item: Distribution) -> Path:
    parts = urlsplit(item.direct_url)
    folder = Path(unquote(parts.path))
    again = "run `envparity lock` on the machine, and as the user, that took the snapshot"
    if parts.scheme != "file" or not folder.is_dir():
        raise BuildError(f"its project is not here: `{plain(item.direct_url) or item.location}`", again)
    if not any((folder / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise BuildError(f"its project `{folder}` has no pyproject.toml", "it must be one that can be built")
    return folder


def _source(folder: Path, environ: Mapping[str, str]) -> Source:
    fact = next((fact for fact in repository(folder, environ) if fact["kind"] == "source-code"), None)
    if fact is None or not fact.get("commit"):
        return Source("", "", None)
    dirty = fact.get("dirty")
    if fact.get("untracked") and not dirty:
        dirty = dirty if _no_source(folder, environ) else True
    return Source(fact.get("remote") or "", fact["commit"], dirty)


def _no_source(folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether each file of the folder that git does not track is one that a build leaves out."""
    try:
        git = Git.opened(executable(environ), folder, environ)
        listed = git.ask("ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    except GitError:
        return False
    paths = listed.decode("utf-8", "surrogateescape").split("\0")
    return all(any(fnmatch(part, left) for part in path.split("/") for left in _LEFT) for path in paths if path)


def _argv(python: Python, environ: Mapping[str, str], source: Path, out: Path) -> tuple[str, ...]:
    interpreter = _interpreter(python)
    uv = shutil.which("uv", path=environ.get("PATH", ""))
    if uv:
        options = ("--wheel", "--no-config", "--quiet", "--python", interpreter, "--out-dir", str(out))
        return (uv, "build", *options, str(source))
    if not _has_pip(interpreter, environ):
        raise UnreachableError(
            "an editable project is built by uv or pip, and neither is here",
            hint="install uv (https://docs.astral.sh/uv/), or pip where the model was trained",
        )
    quiet = ("--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet")
    return (interpreter, "-I", "-m", "pip", "wheel", *quiet, "--wheel-dir", str(out), str(source))


def _interpreter(python: Python) -> str:
    places = [f"{python.prefix}/bin/python"] if python.prefix else []
    places += [python.executable.path] if python.executable else []
    found = next((place for place in places if Path(place).is_file()), None)
    if found is None:
        raise BuildError(
            "its project is built with the Python that trained the model, which is not here",
            "run `envparity lock` on the machine that took the snapshot",
        )
    return found


def _has_pip(interpreter: str, environ: Mapping[str, str]) -> bool:
    return run(Command((interpreter, "-I", "-m", "pip", "--version"), env=_plain(environ))).status == 0


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's variables (proxies, compilers), without what would lead an installer or a Python elsewhere."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_STARTS)}
    return {**kept, "PIP_CONFIG_FILE": "/dev/null", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "315532800"}


def _wheel(item: Distribution, argv: tuple[str, ...], environ: Mapping[str, str], out: Path) -> Path:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    # The repository does not go along; a version that is derived from it is the one that was installed.
    env = {**_plain(environ), "SETUPTOOLS_SCM_PRETEND_VERSION": item.version}
    done = run(Command(argv, env=env, cwd=out, timeout_s=LIMIT_S))
    if done.status != 0:
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        said = plain(lines[-1])[:300] if lines else f"status {done.status}"
        raise BuildError(f"its own build backend fails: {said}", "see that `uv build --wheel` works in its folder")
    wheels = sorted(out.glob("*.whl"))
    try:
        (wheel,) = wheels
        name, version, _, _ = parse_wheel_filename(wheel.name)
        same = (name, version) == (item.name, Version(item.version))
    except (ValueError, InvalidWheelFilename, InvalidVersion) as error:
        raise BuildError(f"its own build backend makes no wheel: {error}", "look at its build backend") from error
    if not same:
        raise BuildError(
            f"its project is now {name} {version}, and another version trained the model",
            "check the version out that trained the model, or install it again and take a new snapshot",
        )
    return wheel
