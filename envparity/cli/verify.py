"""`envparity verify`"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from envparity.cli.common import (
    Common,
    common_options,
    emit,
    fail_on_option,
    insecure_option,
    later_options,
    os_mirror_option,
    report_options,
    style,
)
from envparity.cli.configured import named


@click.command()
@click.argument("image")
@click.option(
    "--against",
    default="",
    metavar="SNAPSHOT|LOCK",
    help="What the image must be [default: the lock that is attached to it, or inside].",
)
@click.option("--lock", default="", metavar="LOCK", help="Beside a snapshot: your own lock of it, whose word counts.")
@click.option("--app", type=click.Path(path_type=Path), help="The folder of your code that the image was built with.")
@click.option(
    "--ca-bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The authorities of your own that you built it with.",
)
@click.option("--entrypoint", metavar="CMD", help="What you built it to start, if not Python.")
@click.option("--health", metavar="CMD", help="The health check that you built it with.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable that you built it with; repeatable.")
@click.option("--user", default="10001:10001", metavar="UID[:GID]", help="The user that you built it with.")
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="The public key that must have signed the image."
)
@click.option(
    "--signed-as", default="", metavar="HOST/NAME:TAG", help="Under which name [default: the one that you ask for]."
)
@fail_on_option
@report_options("verdict")
@click.option("--platform", default="", metavar="OS/ARCH", help="Which image, of several in one place.")
@os_mirror_option
@click.option(
    "--extra", "extras", multiple=True, metavar="NAME", help="The image has this extra of another tool's lock."
)
@click.option("--group", "groups", multiple=True, metavar="NAME", help="The image has this group of that lock.")
@click.option(
    "--leave-out", "without", multiple=True, metavar="NAME", help="The image was made without this one of it."
)
@click.option("--index", multiple=True, metavar="[NAME=]URL", help="Where the wheels of that lock are, as for `lock`.")
@later_options("--predictions", "--host")
@insecure_option
@common_options
def command(
    common: Common,
    image: str,
    against: str,
    lock: str,
    app: Path | None,
    ca_bundle: Path | None,
    entrypoint: str | None,
    health: str | None,
    env: tuple[str, ...],
    user: str,
    fail_on: str,
    format: str,
    output: str | None,
    platform: str,
    os_mirrors: tuple[str, ...],
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    without: tuple[str, ...],
    index: tuple[str, ...],
    key: Path | None,
    signed_as: str,
    insecure: bool,
) -> int:
    """
    Prove that IMAGE is the environment of a snapshot or a lock, down to its files.

    Nothing of the image is run. Against a lock each layer is assembled again and compared; against a snapshot every
    file of every RECORD is hashed. A lock of another tool (uv.lock, poetry.lock, requirements with hashes, …) proves
    as much by the wheels whose sha256 it states: they are fetched, and say which files belong there.

    Exit status 5 says that a file is not what it should be, 1 that a difference can hurt the model, 3 that something
    could not be read.

    --lock beside a snapshot holds the image against both. Of an image for another platform than the training's, the
    counterparts that a lock of yours declares are shown as declared, and are proven by that lock; the word of the
    image alone is never enough.

    --key holds the image to its signature, and to what was signed beside it: provenance, SBOMs, lock, snapshot. With
    neither --key nor --against, that it agrees with itself is all that is proven, and the verdict says so.

    \b
      envparity verify oci:image --against model.env.json
      envparity verify oci:image --against pylock.toml
      envparity verify oci:image --against uv.lock --group serve
      envparity verify oci:arm64 --against model.env.json --lock pylock.toml
      envparity verify registry:ghcr.io/team/model:1 --key cosign.pub
    """
    import msgspec

    from envparity import report, verify
    from envparity.image import authorities
    from envparity.image.options import options
    from envparity.oci import places
    from envparity.oci.keys import public_key
    from envparity.resolvers.configured import configured
    from envparity.resolvers.indexes import indexes
    from envparity.values import Severity

    if insecure:
        places.require_here(named(image))
    sought = indexes(index, (), configured(os.environ))
    expected = options(entrypoint=entrypoint, health=health, env=env, user=user)
    if ca_bundle is not None:
        own = authorities.digest(authorities.read(ca_bundle))
        expected = msgspec.structs.replace(expected, ca_bundle=own)
    request = verify.Request(
        named(image),
        named(against) if against else "",
        app,
        expected,
        Severity(fail_on),
        common.strict,
        common.allow_incomplete,
        os.environ,
        platform,
        extras,
        groups,
        without,
        sought,
        public_key(key) if key is not None else None,
        signed_as,
        lock,
        sys.stdin.buffer,
    )
    with common.fetcher(sought.named, os_mirrors=os_mirrors, insecure=insecure) as fetcher:
        verdict = verify.against(request, fetcher=fetcher)
    emit(report.rendered("verdict", format, verdict, style(output), verbose=common.verbose), output)
    return verdict.status
