"""
The command line: one file a verb, loaded when it is typed, so that `envparity --help` costs nothing.

`main` is the one place that turns an error into a line, a hint and an exit status, and that reads `os.environ`.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from envparity import __version__
from envparity.errors import EnvparityError, ExitStatus, UnsupportedError, UsageError

COMMANDS: dict[str, str] = {
    "snapshot": "Record the environment that a model was trained in.",
    "show": "Print what is known of an environment, for a person.",
    "diff": "Say which difference between two environments can hurt the model.",
    "lock": "Recover the exact, hashed contents of an environment.",
    "build": "Assemble a lock into an image, without a daemon and without root.",
    "run": "Run a command inside an image, without an engine.",
    "verify": "Prove that an image is the environment that it claims to be.",
}
"""Each verb is the module of its name, which has a `command`."""

LATER = ("rules", "explain", "export", "dockerfile", "init", "doctor", "cache")
"""Verbs of the contract that do not work yet; they are named as such, and not offered."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in LATER:
            raise UnsupportedError(
                f"`envparity {name}` is not supported yet", hint=f"what works: {', '.join(COMMANDS)}"
            )
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"envparity.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Verbs,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "ENVPARITY",
        "max_content_width": 100,
    },
    epilog='Shell completion: eval "$(_ENVPARITY_COMPLETE=bash_source envparity)" (or zsh_source, fish_source).',
)
@click.version_option(__version__, prog_name="envparity")
def cli() -> None:
    """
    Ship the runtime that a model was trained in, and prove it.

    \b
      envparity snapshot --model model.joblib -o model.env.json
      envparity diff model.env.json requirements.txt
      envparity lock model.env.json
      envparity build pylock.toml --model model.joblib --output oci:image
      envparity verify oci:image --against model.env.json

    Exit status: 0 parity holds, 1 findings, 2 usage, 3 could not finish, 4 a malformed file, 5 integrity.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status; nothing but a bug shows a traceback without `--debug`."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv
    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = cli.main(args=argv, prog_name="envparity", standalone_mode=False)
        sys.stdout.flush()
    except EnvparityError as error:
        if debug:
            raise
        status = _report(error, argv)
    except click.exceptions.Exit as leave:
        status = leave.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"see `{context.command_path} --help`" if context is not None else ""
        status = _report(UsageError(error.format_message(), hint=hint), argv)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)  # noqa: T201
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader left (`| head`). What is still buffered has nowhere to go: Python must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except Exception as error:
        if debug:
            raise
        status = _report(
            EnvparityError(f"{type(error).__name__}: {error}", hint="this is a bug of envparity; --debug shows where"),
            argv,
        )
    sys.exit(status if isinstance(status, int) else ExitStatus.OK)


def _report(error: EnvparityError, argv: Sequence[str]) -> int:
    from envparity.report import errors

    as_json = "--format=json" in argv or ("--format", "json") in itertools.pairwise(argv)
    print(errors.json(error) if as_json else errors.text(error), file=sys.stderr)  # noqa: T201
    return int(error.status)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)  # noqa: T201


def _terminated(number: int, _: object) -> NoReturn:
    # As an exception, so that what is half written is removed on the way out.
    sys.exit(128 + number)
