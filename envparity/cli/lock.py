"""`envparity lock`"""

from __future__ import annotations

from pathlib import Path

import click

from envparity.cli.common import Common, common_options, later_options, output_option
from envparity.cli.configured import named

_PUBLIC = "https://pypi.org/simple/"  # `resolvers.index.PYPI`, without what that module imports


@click.command()
@click.argument("source")
@output_option("The lock: pylock.toml or pylock.NAME.toml.", default="pylock.toml", show_default=True)
@click.option(
    "--base", help="What the image begins with, such as debian:bookworm [default: the snapshot's own release]."
)
@click.option("--index", default=_PUBLIC, show_default=True, help="The package index (PEP 691 JSON).")
@later_options(
    *("--platform", "--add", "--add-os", "--repack", "--require", "--resolver", "--bytecode"),
    flags=("--prove", "--only-used"),
)
@common_options
def command(common: Common, source: str, output: str, base: str | None, index: str) -> None:
    """
    Recover the exact, hashed contents of the environment that SOURCE recorded.

    Nothing is resolved again: each distribution's own wheel is found on the index, by the tags that it was installed
    with. What cannot be locked is refused, all of it at once. Bytes that no index serves (the snapshot, a captured
    interpreter) go into the folder pylock.artifacts beside the lock; keep the two together.

    \b
      envparity lock model.env.json -o pylock.toml
    """
    from envparity import lock
    from envparity.errors import UsageError
    from envparity.files import private_folder
    from envparity.lockfile import artifacts_folder, check_name, write
    from envparity.sources import read

    if output == "-":
        raise UsageError(
            "a lock of a snapshot needs artifacts beside it, so it cannot go to standard output",
            hint="name a file: `-o pylock.toml`",
        )
    check_name(Path(output))
    environment = read(named(source))
    with private_folder() as workplace, common.fetcher() as fetcher:
        recovered = lock.recover(
            environment,
            fetcher=fetcher,
            workplace=workplace,
            base=base,
            index_url=index,
            allow_incomplete=common.allow_incomplete,
        )
        write(recovered, Path(output))
    for line in lock.summary(recovered.lock, verbose=common.verbose):
        common.say(line)
    common.say(f"wrote {output} and {artifacts_folder(Path(output)).name}/")
