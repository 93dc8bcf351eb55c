"""What every verb shares: its common options, where its output goes, and how it shows progress."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envparity import report
from envparity.progress import SILENT, Advance, Progress

if TYPE_CHECKING:
    from envparity.fetch import Fetcher
    from envparity.report.text import Style


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
        """A message for a person, on standard error."""
        if not self.quiet:
            click.echo(message, err=True)

    def fetcher(self) -> Fetcher:
        """The client and the cache of this run; the cache lies in ENVPARITY_CACHE_DIR, or in the user's own place."""
        from envparity.cache import Cache
        from envparity.fetch import Fetcher
        from envparity.network import Client

        folder = os.environ.get("ENVPARITY_CACHE_DIR")
        return Fetcher(Client(offline=self.offline), Cache(Path(folder) if folder else None), self.progress)


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


platform_option = click.option(
    "--platform", default="", metavar="OS/ARCH", help="Which image of several, such as linux/amd64."
)


def report_options(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--format` and `-o` for a command that renders this kind of value; it receives `form` and `output`."""

    def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
        formats = click.Choice(list(report.FORMATS[kind]))
        function = click.option("-o", "--output", metavar="FILE", help="Write it there; - is standard output.")(
            function
        )
        return click.option("--format", "form", type=formats, default="text", show_default=True)(function)

    return with_options


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
