"""
The command line: one file a verb, loaded when it is typed, so that `envparity --help` costs nothing.

`main` is the one place that turns an error into a line, a hint and an exit status, and that reads `os.environ`.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from envparity import __version__
from envparity.errors import EnvparityError, ExitStatus

COMMANDS: dict[str, str] = {
    "snapshot": "Record the environment that a model was trained in.",
    "show": "Print what is known of an environment, for a person.",
    "diff": "Say which difference between two environments can hurt the model.",
    "lock": "Recover the exact, hashed contents of an environment.",
    "export": "Write a lock in the format of another tool.",
    "build": "Assemble a lock into an image, without a daemon and without root.",
    "dockerfile": "Write a lock as a folder that plain `docker build` takes.",
    "run": "Run a command inside an image, without an engine.",
    "verify": "Prove that an image is the environment that it claims to be.",
    "rules": "List what is known of differences, or search it.",
    "explain": "Print one rule: what it says, how it is known, and what to do.",
    "cache": "Say where the cache is and how large; remove what is not used.",
    "doctor": "Say what works on this machine, and what to do about the rest.",
    "init": "Write envparity.yaml: targets, policy, defaults.",
}
"""Each verb is the module of its name, which has a `command`."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"envparity.cli.{name}").command
        for option in command.params:
            if isinstance(option, click.Option):
                # As it is typed; click would make it of its parameter, and read `ENVPARITY_LOCK_ADDED` for `--add`.
                typed = max(option.opts, key=len).lstrip("-")
                option.envvar = f"ENVPARITY_{name}_{typed}".replace("-", "_").upper()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Verbs,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "ENVPARITY",
        "max_content_width": 100,
    },
    epilog='Shell completion: eval "$(_ENVPARITY_COMPLETE=bash_source envparity)" (or zsh_source, fish_source).',
)
@click.version_option(__version__, prog_name="envparity")
@click.pass_context
def cli(context: click.Context) -> None:
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
    if context.invoked_subcommand is None:
        # A script whose verb is an empty variable must not pass.
        click.echo(context.get_help(), err=True)
        context.exit(int(ExitStatus.USAGE))
    if context.invoked_subcommand != "init":
        _with_settings(context, str(context.invoked_subcommand))


def _with_settings(context: click.Context, verb: str) -> None:
    """What `envparity.yaml` says, for this verb: its options become defaults, and the rest is there for who asks."""
    from envparity.cli import configured

    settings = configured.settings_here()
    command = context.command.get_command(context, verb) if isinstance(context.command, click.Group) else None
    if settings is not None and command is not None:
        context.obj = settings
        context.default_map = {verb: configured.defaults(settings, verb, command, list(COMMANDS))}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status; nothing but a bug shows a traceback without `--debug`."""
    _open_standard_streams()
    argv = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _show_warning
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` asks that it be ignored
            signal.signal(number, _terminated)
    status: object = ExitStatus.OK
    try:
        status = cli.main(args=argv, prog_name="envparity", standalone_mode=False)
        sys.stdout.flush()
    except EnvparityError as error:
        status = _report(error, argv)
    except click.exceptions.Exit as leave:
        status = leave.exit_code
    except click.ClickException as error:
        from envparity.cli import configured

        status = _report(configured.refused(error), argv)
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        status = 128 + signal.SIGINT
    except SystemExit as leave:  # by a signal
        status = leave.code
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
    except OSError as error:
        # Whoever opened the file should have said more; that a system says no is still no bug.
        from envparity.files import finished

        status = _report(finished(error), argv)
    except Exception as error:  # noqa: BLE001 (the one place: no user is to see a traceback)
        bug = EnvparityError(f"{type(error).__name__}: {error}", hint="this is a bug of envparity; --debug shows where")
        status = _report(bug, argv)
    _drop_unwritten()
    code = int(status) if isinstance(status, int) else int(ExitStatus.OK)
    if code > 128 and threading.active_count() > 1:
        os._exit(code)  # a thread that waits for a connection to be made cannot be woken, and Python would wait for it
    sys.exit(code)


def _report(error: EnvparityError, argv: Sequence[str]) -> int:
    import traceback

    from envparity.report import errors

    ours = argv[: argv.index("--")] if "--" in argv else argv
    if "--debug" in ours:
        _say(traceback.format_exc().rstrip())
    verb = next((argument for argument in ours if not argument.startswith("-")), "")
    as_json = (
        "--format=json" in ours
        or ("--format", "json") in itertools.pairwise(ours)
        or os.environ.get(f"ENVPARITY_{verb.upper()}_FORMAT") == "json"
    )
    _say(errors.json(error) if as_json else errors.text(error))
    return int(error.status)


def _say(text: str) -> None:
    # Where standard error takes nothing, the exit status still tells.
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    from envparity.report.text import printable

    _say(f"warning: {printable(str(message))}")


def _terminated(number: int, _: object) -> NoReturn:
    # As an exception, so that what is half written is removed on the way out.
    sys.exit(128 + number)


def _open_standard_streams() -> None:
    """
    A stream that the caller closed (`>&-`) is opened, so that no file of ours gets its number and takes what was
    meant for it. What is written to such a standard output fails, as it would have; it does not vanish.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def _drop_unwritten() -> None:
    # What is still buffered has nowhere to go where the reader left (`| head`) or the disk is full; Python would
    # complain at its very end, and change the exit status.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
