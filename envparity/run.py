"""
A command inside an image, without an engine: unpacked into a private folder, and started with that folder as its root.

This runs what the image holds, and only because a user asked for it by name. It sees no file of the host but standard
input, output and error. Whether it has a network, and which user it is, depends on what this machine allows: the way
that was taken says so before anything starts. None is a wall against a hostile model: for that, use a virtual machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envparity import platforms
from envparity.errors import MalformedError, UnreachableError, UsageError
from envparity.files import Member, populate, private_folder
from envparity.oci import places
from envparity.oci.access import Access
from envparity.oci.entries import shown
from envparity.oci.image import Image
from envparity.oci.tree import ImageTree, merge
from envparity.process import Command, run
from envparity.progress import SILENT, Progress

_MOST_TRIAL_S = 20.0


@dataclass(frozen=True)
class Inside:
    """What to start, where, as whom and with which variables."""

    root: Path
    argv: tuple[str, ...]
    variables: Mapping[str, str]
    workdir: str
    user: str
    group: str


@dataclass(frozen=True)
class Way:
    """
    One way to give a process another root.

    Args:
        name: what it is called.
        trial: a command that succeeds where this machine allows the way; `None` where a tool is missing.
        argv: its command line.
        said: as whom the process runs and with which network, for whoever started it.
    """

    name: str
    trial: Callable[[], tuple[str, ...] | None]
    argv: Callable[[Inside], tuple[str, ...]]
    said: Callable[[Inside], str]


def inside(
    reference: str,
    argv: Sequence[str] = (),
    *,
    access: Access | None = None,
    progress: Progress = SILENT,
    say: Callable[[str], None] = lambda message: None,
) -> int:
    """
    The exit status of a command (the image's own where none is given), with our standard streams. Of images for several
    platforms it is that of this machine. `access` is what a registry or an engine takes: logins, the engine's socket.

    Raises:
        UnreachableError: this machine allows none of the ways; each is named with what it lacks.
        UsageError: there is none for this machine's platform, or it has nothing to start.
    """
    image = places.open_image(reference, platform=platforms.here(), access=access)
    way = the_way()
    with private_folder() as folder:
        root = folder / "root"
        root.mkdir(mode=0o755)
        folder.chmod(0o711)  # another user, as whom the command may run, must be able to pass
        tree = merge(image, keep=lambda path: False)
        with progress.task("unpack", None):
            populate(root, _members(tree))
        what = _inside(image, tree, root, tuple(argv))
        say(f"inside {reference} by {way.name}, {way.said(what)}")
        return run(Command(way.argv(what), env=_HOST_VARIABLES, timeout_s=None, inherit=True)).status


_HOST_VARIABLES = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What the helper on this host is started with. The image's own variables are set inside, and never reach it."""


def the_way(ways: Sequence[Way] | None = None) -> Way:
    """
    The first way that this machine allows, of `WAYS` unless others are given.

    Raises:
        UnreachableError: it allows none.
    """
    missing = []
    for way in WAYS if ways is None else ways:
        trial = way.trial()
        if trial is None:
            missing.append(f"{way.name}: not installed")
            continue
        done = run(Command(trial, env=_HOST_VARIABLES, timeout_s=_MOST_TRIAL_S))
        if done.status == 0:
            return way
        cause = done.stderr.decode(errors="replace").strip().splitlines()
        missing.append(f"{way.name}: {cause[-1] if cause else f'exit status {done.status}'}")
    raise UnreachableError(
        "this machine cannot run an image without an engine",
        hint="install bubblewrap, allow user namespaces, or run the image with an engine",
        details=tuple(missing),
    )


def _members(tree: ImageTree) -> Iterator[Member]:
    nodes = {node.path: node for node in tree.walk() if node.path != "/"}
    for node in nodes.values():
        if node.kind in {"folder", "link"}:
            yield Member(node.path[1:], node.kind, node.mode, node.target)
    files = [path for path, node in nodes.items() if node.kind == "file"]
    for path, stream in tree.contents(files):
        yield Member(path[1:], "file", nodes[path].mode, open=lambda stream=stream: stream)  # type: ignore[misc]


def _inside(image: Image, tree: ImageTree, root: Path, argv: tuple[str, ...]) -> Inside:
    runtime = image.config.config
    variables, command = image.variables, argv or image.starts
    if not command:
        raise UsageError("the image names nothing to start", hint="name a command: `envparity run IMAGE -- CMD`")
    broken = next((text for text in (*command, *variables, *variables.values()) if "\0" in text), None)
    if broken is not None:
        raise MalformedError(f"the image's configuration holds a NUL byte, in `{shown(broken)}`")
    _require_program(tree, command[0], variables.get("PATH", ""), image.reference)
    user, _, group = ((runtime.user if runtime else "") or "0").partition(":")
    if not user.isdigit():
        raise UsageError(f"the image's user `{user}` is a name, and only numbers are supported")
    workdir = (runtime.working_dir if runtime else "") or "/"
    if not (root / workdir.lstrip("/")).is_dir():
        workdir = "/"
    return Inside(root, command, variables, workdir, user, group if group.isdigit() else user)


def _require_program(tree: ImageTree, name: str, search: str, reference: str) -> None:
    """Say that a command is not there before a helper of this host says it in its own words, with its own status."""
    folders = (search or _HOST_VARIABLES["PATH"]).split(":")
    places = [name] if "/" in name else [f"{folder}/{name}" for folder in folders]
    if all(place.startswith("/") and tree.kind(place) != "file" for place in places):
        raise UsageError(
            f"`{shown(reference)}` has no `{shown(name)}`" + ("" if "/" in name else " on its PATH"),
            hint="name a command that it has, such as `python`",
        )


def _tool(name: str) -> str | None:
    return shutil.which(name, path=_HOST_VARIABLES["PATH"])


def _bubblewrap_trial() -> tuple[str, ...] | None:
    tool = _tool("bwrap")
    return tool and (tool, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true")  # type: ignore[return-value]


def _bubblewrap(what: Inside) -> tuple[str, ...]:
    variables = [part for name, value in what.variables.items() for part in ("--setenv", name, value)]
    return (
        str(_tool("bwrap")),
        *("--unshare-all", "--die-with-parent", "--clearenv", *variables),
        *("--bind", str(what.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 - inside
        *("--uid", what.user, "--gid", what.group, "--chdir", what.workdir, "--", *what.argv),
    )


def _mapped(root: str, user: str, group: str, *argv: str) -> tuple[str, ...] | None:
    tool = _tool("unshare")
    options = ("--user", f"--map-user={user}", f"--map-group={group}", *_ALONE, f"--root={root}", "--")
    return tool and (tool, *options, *argv)  # type: ignore[return-value]


def _as_root(root: str, *argv: str) -> tuple[str, ...] | None:
    tool = _tool("unshare")
    return tool and (tool, "--user", "--map-root-user", *_ALONE, "chroot", root, *argv)  # type: ignore[return-value]


def _unshared_chroot(root: str, user: str, group: str, *argv: str) -> tuple[str, ...] | None:
    tool, chroot = _tool("unshare"), _chroot(root, user, group, *argv)
    return chroot and tool and (tool, *_ALONE, *chroot)  # type: ignore[return-value]


def _chroot(root: str, user: str, group: str, *argv: str) -> tuple[str, ...] | None:
    tool = _tool("chroot")
    # "--groups=" keeps the supplementary groups of whoever started this out (coreutils, chroot).
    return tool and (tool, f"--userspec={user}:{group}", "--groups=", root, *argv)  # type: ignore[return-value]


_ALONE = ("--net", "--mount", "--pid", "--fork", "--kill-child")
_TRIAL = ("/", "10001", "10001", "true")


def _by(command: Callable[..., tuple[str, ...] | None]) -> Callable[[Inside], tuple[str, ...]]:
    return lambda what: command(str(what.root), what.user, what.group, *_with_env(what)) or ()


def _with_env(what: Inside) -> tuple[str, ...]:
    # The image's own `env` sets its variables, so that none of them (LD_PRELOAD!) meets a program of this host.
    settings = tuple(f"{name}={value}" for name, value in what.variables.items())
    return ("/usr/bin/env", "-i", f"--chdir={what.workdir}", *settings, *what.argv)


def _as_user(what: Inside) -> str:
    return f"as user {what.user}, without a network"


def _as_user_of_this_host(what: Inside) -> str:
    # "This call does not intend to be used for any kind of security purpose" (chroot(2)): root walks out of it.
    warning = ", which is root on this host and can leave a chroot" if what.user == "0" else ""
    return f"as user {what.user}{warning}"


WAYS = (
    Way("bubblewrap", _bubblewrap_trial, _bubblewrap, _as_user),
    Way("a user namespace", lambda: _mapped(*_TRIAL), _by(_mapped), _as_user),
    Way(
        "a user namespace",
        lambda: _as_root("/", "true"),
        lambda what: _as_root(str(what.root), *_with_env(what)) or (),
        lambda what: f"as root of that namespace and not as user {what.user}, without a network",
    ),
    Way(
        "chroot",
        lambda: _unshared_chroot(*_TRIAL),
        _by(_unshared_chroot),
        lambda what: f"{_as_user_of_this_host(what)}, without a network",
    ),
    Way(
        "chroot",
        lambda: _chroot(*_TRIAL),
        _by(_chroot),
        lambda what: f"{_as_user_of_this_host(what)}, with the host's network",
    ),
)
"""In order of preference. An old `unshare` knows no `--map-user`; a container often allows no namespace at all."""
