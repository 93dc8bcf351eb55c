"""What every verb shares: its common options, where its output goes, and how it shows progress."""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envparity import report
from envparity.errors import UnsupportedError, plain
from envparity.progress import SILENT, Advance, Progress

if TYPE_CHECKING:
    from datetime import datetime

    from envparity.cache import Cache
    from envparity.fetch import Fetcher
    from envparity.report.text import Style
    from envparity.resolvers.indexes import Index


@dataclass(frozen=True)
class Common:
    """The options that every command takes, as one value."""

    offline: bool
    strict: bool
    allow_incomplete: bool
    debug: bool
    quiet: bool
    verbose: bool

    @property
    def progress(self) -> Progress:
        """Bars on standard error where it is a terminal, and nothing elsewhere."""
        return SILENT if self.quiet or not sys.stderr.isatty() else _Bars()

    def say(self, message: str) -> None:
        """A line for a person, on standard error. What is in it may come from a file: nothing that a terminal obeys."""
        if not self.quiet:
            click.echo(plain(message), err=True)

    def say_wrapped(self, message: str) -> None:
        """The same for a sentence: as many lines of 80 columns as it takes."""
        for line in textwrap.wrap(
            message, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        ):
            self.say(line)

    def fetcher(
        self,
        named: Iterable[Index] = (),
        *,
        refresh: bool = False,
        os_mirrors: Iterable[str] = (),
        insecure: bool = False,
    ) -> Fetcher:
        """
        The client and the cache of this run; the cache lies in ENVPARITY_CACHE_DIR, or in the user's own place. `named`
        are the package indexes by whose names the user's logins may go; with `refresh`, their pages are asked
        for again. `os_mirrors` are those of `os_mirror_option`, `insecure` is that of `insecure_option`.
        """
        from envparity.fetch import Fetcher
        from envparity.network import Client
        from envparity.resolvers.logins import Logins

        client = Client(offline=self.offline, logins=Logins(os.environ, named), insecure=insecure)
        mirrors = {}
        if os_mirrors:
            from envparity.resolvers.archives import mirrors_of

            mirrors = mirrors_of(os_mirrors)
        return Fetcher(client, the_cache(), self.progress, refresh, mirrors)


def the_cache() -> Cache:
    """The cache of this user: in ENVPARITY_CACHE_DIR, or in the user's own place."""
    from envparity.cache import Cache

    folder = os.environ.get("ENVPARITY_CACHE_DIR")
    return Cache(Path(folder) if folder else None)


_OPTIONS = (
    click.option("--offline", is_flag=True, help="Ask nobody on the network; use what is cached."),
    click.option("--strict", is_flag=True, help="Fail on what a source cannot record, too."),
    click.option("--allow-incomplete", is_flag=True, help="Answer even if something could not be read."),
    click.option("--debug", is_flag=True, help="Show a traceback with an error."),
    click.option("-q", "--quiet", is_flag=True, help="No messages and no progress."),
    click.option("-v", "--verbose", is_flag=True, help="Show the small findings too."),
)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the common options; it receives them as one value, `common`."""

    @functools.wraps(function)
    def with_common(**arguments: Any) -> Any:
        names = Common.__dataclass_fields__
        common = Common(**{name: arguments.pop(name) for name in names})
        return function(common=common, **arguments)

    for option in reversed(_OPTIONS):
        with_common = option(with_common)
    return with_common


def later_options(*names: str, flags: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that are agreed upon and not built yet: `--help` is silent about them, and using one says so."""

    def refuse(context: click.Context, option: click.Parameter, value: object) -> None:
        if value:
            raise UnsupportedError(
                f"`{option.opts[0]}` is not supported yet",
                hint=f"`{context.command_path} --help` lists what is",
            )

    def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in (*names, *flags):
            plain = click.option(
                name, is_flag=name in flags, default=None, hidden=True, expose_value=False, callback=refuse
            )
            function = plain(function)
        return function

    return with_options


@dataclass(frozen=True)
class Target:
    """The target that a person stated for what a file declares under several: platforms, Pythons, extras, groups."""

    platform: str
    python_version: str
    extras: tuple[str, ...] | None
    groups: tuple[str, ...] | None


_TARGET = (
    click.option("--platform", metavar="OS/ARCH", default="", help="Read a file for it: linux/amd64, linux/arm64."),
    click.option("--python-version", metavar="X.Y", default="", help="Read a file for this Python."),
    click.option(
        "--extra", "extras", metavar="NAME", multiple=True, help="Read a file with this extra of the project."
    ),
    click.option(
        "--group",
        "groups",
        metavar="NAME",
        multiple=True,
        help="Read a file with this group, category or environment; main alone is none of them.",
    ),
)


def _stated(arguments: dict[str, Any], platform: str) -> Target:
    """Take what was stated out of the arguments of a command."""
    extras, groups = arguments.pop("extras"), arguments.pop("groups")
    any_of_both = bool(extras or groups)
    return Target(
        platform,
        arguments.pop("python_version"),
        extras if any_of_both else None,
        groups if any_of_both else None,
    )


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that select from a file; it receives them as one value, `target`."""

    @functools.wraps(function)
    def with_target(**arguments: Any) -> Any:
        target = _stated(arguments, arguments.pop("platform"))
        return function(target=target, **arguments)

    for option in reversed(_TARGET):
        with_target = option(with_target)
    return with_target


def targets_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that takes several platforms, as `platforms`; the first is that of `target`."""

    @functools.wraps(function)
    def with_targets(**arguments: Any) -> Any:
        platforms = arguments.pop("platform")
        target = _stated(arguments, platforms[0] if platforms else "")
        return function(target=target, platforms=platforms, **arguments)

    several = click.option(
        "--platform", metavar="OS/ARCH", multiple=True, help="Lock for it: linux/amd64, linux/arm64; repeatable."
    )
    for option in (*reversed(_TARGET[1:]), several):
        with_targets = option(with_targets)
    return with_targets


def report_options(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--format` and `-o` for a command that renders this kind of value; it receives `format` and `output`."""

    def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
        formats = click.Choice(list(report.FORMATS[kind]))
        function = output_option("Write it there; - is standard output.")(function)
        return click.option("--format", type=formats, default="text", show_default=True)(function)

    return with_options


def reports_options(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The same, each repeatable, for a command that renders in several formats at once; it receives `wanted`."""

    def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def with_wanted(**arguments: Any) -> Any:
            from envparity.cli.wanted import wanted

            chosen = wanted(arguments.pop("format"), arguments.pop("output"), tuple(report.FORMATS[kind]))
            return function(wanted=chosen, **arguments)

        formats = click.Choice(list(report.FORMATS[kind]))
        places = output_option(
            "Write it there; - is standard output. Repeatable: each takes the format that its name ends with "
            "(.html, .md, .sarif, .xml, .json), else the next --format.",
            multiple=True,
        )
        return click.option("--format", type=formats, multiple=True, help="Repeatable. [default: text]")(
            places(with_wanted)
        )

    return with_options


def output_option(help: str, **more: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`-o FILE`; where no file can be written there, it is said before any work."""

    def check(context: click.Context, option: click.Parameter, value: Any) -> Any:
        from envparity import files

        for place in value if more.get("multiple") else (value,):
            if place is not None and place != "-":
                files.check_target(place)
        return value

    return click.option("-o", "--output", metavar="FILE", callback=check, help=help, **more)


def stated_time() -> datetime | None:
    """The time that SOURCE_DATE_EPOCH states (https://reproducible-builds.org/specs/source-date-epoch/)."""
    from datetime import UTC, datetime

    from envparity.errors import UsageError

    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        if not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"SOURCE_DATE_EPOCH is `{text[:80]}`, and not a number of seconds since 1970",
            hint="set it to whole seconds, as `git log -1 --format=%ct` prints them, or unset it",
        ) from error


os_mirror_option = click.option(
    "--os-mirror",
    "os_mirrors",
    multiple=True,
    metavar="ARCHIVE=URL",
    help="Where an archive of OS packages is served: debian=https://...; repeatable.",
)

insecure_option = click.option(
    "--insecure", is_flag=True, help="Of a registry on this machine alone: do not verify its certificate."
)


fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["critical", "high", "medium", "low", "info"]),
    default="high",
    show_default=True,
    help="The least severity that is a failure (exit status 1).",
)


def emit(text: str | bytes, output: str | None) -> None:
    """Write a result to a file, or to standard output where none or `-` is named."""
    data = text.encode() if isinstance(text, str) else text
    from envparity import files

    if output not in {None, "-"}:
        files.write_bytes(str(output), data)
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # the reader left (`| head`): no error, and `main` knows its status
    except OSError as error:
        raise files.translated(error, "write to standard output") from error


def style(output: str | None) -> Style:
    """How a text report looks where it goes: plain and 80 columns wide, unless that is a terminal that can do more."""
    import shutil

    from envparity.report.text import Style

    if output not in {None, "-"}:
        return Style()
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    plain = not encoding.startswith("utf8")
    if not sys.stdout.isatty():
        return Style(ascii=plain)
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour, min(max(shutil.get_terminal_size((80, 24)).columns, 40), 120), plain)


class _Bars:
    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<28.28}"), BarColumn(30), TextColumn("{task.percentage:>3.0f}%"))
        with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(title, total=total)
            yield lambda amount: bars.advance(task, amount)
