"""`envparity build`"""

from __future__ import annotations

from pathlib import Path

import click

from envparity.cli.common import Common, common_options, emit, later_options

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("lock", type=_PATH)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="DEST",
    help="oci:DIR[:TAG], docker-archive:FILE, registry:HOST/NAME:TAG or docker:NAME:TAG; repeatable.",
)
@click.option("-t", "--tag", "name", default="", metavar="NAME:TAG", help="The name written into each DEST.")
@click.option("--model", "models", multiple=True, type=_PATH, help="A model file, to /opt/model/NAME; repeatable.")
@click.option("--app", type=_PATH, help="A folder of your code, to /opt/app.")
@click.option("--entrypoint", metavar="CMD", help="What the image starts [default: python].")
@click.option("--env", multiple=True, metavar="K=V", help="A variable of the image; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the image; repeatable.")
@click.option(
    "--user", default="10001:10001", show_default=True, metavar="UID[:GID]", help="By number; never root by default."
)
@click.option(
    "--workdir", default="", metavar="DIR", help="Where the image starts [default: /opt/app, or / without --app]."
)
@click.option(
    "--port", "ports", multiple=True, type=click.IntRange(1, 65535), help="A port that it serves; repeatable."
)
@click.option("--platform", default="", metavar="OS/ARCH", help="Of a lock for several [default: this machine's].")
@click.option(
    "--serve",
    type=click.Choice(["fastapi", "none"]),
    default="none",
    show_default=True,
    help="Answer HTTP for the model, on port 8080 (docs/serve.md).",
)
@later_options("--codec", flags=("--plan",))
@common_options
def command(
    common: Common,
    lock: Path,
    outputs: tuple[str, ...],
    name: str,
    models: tuple[Path, ...],
    app: Path | None,
    entrypoint: str | None,
    env: tuple[str, ...],
    labels: tuple[str, ...],
    user: str,
    workdir: str,
    ports: tuple[int, ...],
    platform: str,
    serve: str,
) -> None:
    """
    Assemble the image of LOCK: no daemon, no root, no Dockerfile, and the same bytes on any machine.

    \b
      envparity build pylock.toml --model model.joblib --output oci:image
      envparity build pylock.toml --app . --output docker-archive:image.tar \\
        -t tickets:1
      docker load -i image.tar
    """
    import os

    from envparity import build
    from envparity.errors import UsageError
    from envparity.image.options import options

    if not outputs:
        raise UsageError(
            "where should the image go?",
            hint="name a place: `--output oci:image` or `--output docker-archive:image.tar`",
        )
    chosen = options(
        entrypoint=entrypoint,
        env=env,
        labels=labels,
        user=user,
        workdir=workdir,
        ports=ports,
    )
    server = "" if serve == "none" else serve
    request = build.Request(lock, outputs, name, models, app, chosen, os.environ, platform, server)
    with common.fetcher() as fetcher:
        built = build.assemble(request, fetcher=fetcher)
    width = max(len(layer.title) for layer in built.plan.layers)
    for layer, size in zip(built.plan.layers, built.sizes, strict=True):
        common.say(f"  {layer.step:<12} {layer.title:<{width}}  {size / 1e6:8.1f} MB")
    for note in built.notes:
        common.say_wrapped(f"note: {note}")
    for output in outputs:
        common.say(f"wrote {output}")
    emit(f"{built.image.digest}\n", None)
