"""`envparity dockerfile`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from envparity.cli.common import Common, common_options, insecure_option, os_mirror_option
from envparity.cli.image_options import ca_bundle_option, image_options, strip_options

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("lock", type=_PATH)
@click.option("-o", "--output", "folder", type=_PATH, metavar="DIR", help="The folder to write.")
@click.option("--vendor", is_flag=True, help="With every wheel in it: building it asks no network.")
@click.option("--model", "models", multiple=True, type=_PATH, help="A model, file or folder, to /opt/model/NAME.")
@click.option("--app", type=_PATH, help="A folder of your code, to /opt/app.")
@ca_bundle_option
@image_options
@click.option("--platform", default="", metavar="OS/ARCH", help="Of a lock for several [default: this machine's].")
@click.option(
    "--serve",
    type=click.Choice(["fastapi", "mlserver", "mlflow", "none"]),
    help="Answer HTTP for the model, on port 8080 (docs/serve.md). [default: what LOCK was made for]",
)
@strip_options
@os_mirror_option
@insecure_option
@common_options
def command(
    common: Common,
    lock: Path,
    folder: Path | None,
    vendor: bool,
    models: tuple[Path, ...],
    app: Path | None,
    ca_bundle: Path | None,
    chosen: dict[str, Any],
    platform: str,
    serve: str | None,
    strip: tuple[str, ...],
    os_mirrors: tuple[str, ...],
    insecure: bool,
) -> None:
    """
    Write LOCK as a folder that plain `docker build` turns into an equivalent image.

    Its Dockerfile is meant to be read and kept by you: the base from the locked packages, the wheels by pip and hash.
    A folder that was written before is written anew, unless you changed it.

    \b
      envparity dockerfile pylock.toml --model model.joblib --vendor -o docker
      docker build -t tickets:1 docker
      envparity verify docker:tickets:1 --against model.env.json
    """
    import msgspec

    from envparity import dockerfile, lockfile, preparation
    from envparity.errors import UsageError
    from envparity.image.options import options
    from envparity.oci import places

    if folder is None:
        raise UsageError("where should the folder go?", hint="name it: `-o docker`")
    for target in lockfile.read(lock)[0].targets if insecure else ():
        if target.lies_in_registry:
            places.require_here(target.base)
    server = preparation.server_of(lock, serve)
    request = preparation.Request(
        lock,
        models=models,
        app=app,
        options=msgspec.structs.replace(options(**chosen), strip=strip),
        environ=os.environ,
        platform=platform,
        serve=server,
        ca_bundle=ca_bundle,
    )
    with common.fetcher(os_mirrors=os_mirrors, insecure=insecure) as fetcher:
        written = dockerfile.write(request, folder, vendor=vendor, fetcher=fetcher)
    for name, size in written.sizes.items():
        common.say(f"  {name:<18}  {size / 1e6:8.1f} MB")
    common.say(f"wrote {folder}")
    if written.needs_login:
        common.say_wrapped(
            "note: the lock names an index that may want a login, so this takes BuildKit:"
            f" DOCKER_BUILDKIT=1 docker build --secret id=netrc,src=$HOME/.netrc {folder}"
        )
    if written.base and vendor:
        common.say_wrapped(
            "note: the base is not in the folder: a builder without a network must have it already"
            f" (docker pull {written.base})"
        )
