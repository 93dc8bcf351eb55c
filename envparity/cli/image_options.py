"""What an image starts with, and what is left out of it, as options of every verb that makes one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_OPTIONS = (
    click.option("--entrypoint", metavar="CMD", help="What the image starts [default: python]."),
    click.option("--health", metavar="CMD", help="What an engine asks whether it is well; no shell reads it."),
    click.option("--env", multiple=True, metavar="K=V", help="A variable of the image; repeatable."),
    click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the image; repeatable."),
    click.option(
        "--user",
        default="10001:10001",
        show_default=True,
        metavar="UID[:GID]",
        help="By number; never root by default.",
    ),
    click.option(
        "--workdir", default="", metavar="DIR", help="Where the image starts [default: /opt/app, or / without --app]."
    ),
    click.option(
        "--port", "ports", multiple=True, type=click.IntRange(1, 65535), help="A port that it serves; repeatable."
    ),
)
_NAMES = ("entrypoint", "health", "env", "labels", "user", "workdir", "ports")


ca_bundle_option = click.option(
    "--ca-bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Authorities of your own (PEM), which the image trusts beside those of its base.",
)


def image_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; it receives them as one mapping, `chosen`, as `image.options.options` takes it."""

    @functools.wraps(function)
    def with_options(**arguments: Any) -> Any:
        chosen = {name: arguments.pop(name) for name in _NAMES}
        return function(chosen=chosen, **arguments)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


def strip_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--strip` and `--strip-tests`; it receives the kinds that are meant, as `strip`."""

    @click.option(
        "--strip",
        metavar="KINDS",
        help="Leave out of wheels and conda packages what serves nobody: tests, docs, static, debug, with commas; all.",
    )
    @click.option("--strip-tests", is_flag=True, help="The same as --strip tests.")
    @functools.wraps(function)
    def with_options(strip: str | None, strip_tests: bool, **arguments: Any) -> Any:
        from envparity.image import stripping

        return function(strip=stripping.chosen(strip, strip_tests), **arguments)

    return with_options
