"""`envparity verify`"""

from __future__ import annotations

import os
from pathlib import Path

import click

from envparity.cli.common import Common, common_options, emit, fail_on_option, later_options, report_options, style
from envparity.cli.configured import named


@click.command()
@click.argument("image")
@click.option("--against", required=True, metavar="SNAPSHOT|LOCK", help="What the image must be.")
@click.option("--app", type=click.Path(path_type=Path), help="The folder of your code that the image was built with.")
@click.option("--entrypoint", metavar="CMD", help="What you built it to start, if not Python.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable that you built it with; repeatable.")
@click.option("--user", default="10001:10001", metavar="UID[:GID]", help="The user that you built it with.")
@fail_on_option
@report_options("verdict")
@click.option("--platform", default="", metavar="OS/ARCH", help="Which image, of several in one place.")
@later_options("--predictions", "--host")
@common_options
def command(
    common: Common,
    image: str,
    against: str,
    app: Path | None,
    entrypoint: str | None,
    env: tuple[str, ...],
    user: str,
    fail_on: str,
    format: str,
    output: str | None,
    platform: str,
) -> int:
    """
    Prove that IMAGE is the environment of a snapshot or a lock, down to its files.

    Nothing of the image is run. Against a lock each layer is assembled again and compared; against a snapshot every
    file of every RECORD is hashed. Exit status 5 says that a file is not what it should be, 1 that a difference can
    hurt the model, 3 that something could not be read.

    \b
      envparity verify oci:image --against model.env.json
      envparity verify oci:image --against pylock.toml
    """
    from envparity import report, verify
    from envparity.image.options import options
    from envparity.values import Severity

    expected = options(entrypoint=entrypoint, env=env, user=user)
    request = verify.Request(
        named(image),
        named(against),
        app,
        expected,
        Severity(fail_on),
        common.strict,
        common.allow_incomplete,
        os.environ,
        platform,
    )
    with common.fetcher() as fetcher:
        verdict = verify.against(request, fetcher=fetcher)
    emit(report.rendered("verdict", format, verdict, style(output), verbose=common.verbose), output)
    return verdict.status
