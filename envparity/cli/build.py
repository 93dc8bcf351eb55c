"""`envparity build`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envparity.cli.common import (
    Common,
    common_options,
    emit,
    insecure_option,
    os_mirror_option,
    stated_time,
    style,
)
from envparity.cli.image_options import ca_bundle_option, image_options, strip_options
from envparity.errors import plain
from envparity.report import FORMATS, rendered

if TYPE_CHECKING:
    from envparity.build import Built, Request
    from envparity.fetch import Fetcher
    from envparity.values import Environment, Options, Verdict

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
@click.option("--model", "models", multiple=True, type=_PATH, help="A model, file or folder, to /opt/model/NAME.")
@click.option("--app", type=_PATH, help="A folder of your code, to /opt/app.")
@ca_bundle_option
@image_options
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="Of a lock for several; repeated, or `all`, one index of them. [default: this machine's]",
)
@click.option("--host", metavar="FILE", help="A snapshot of the host that it will run on; what cannot run is refused.")
@click.option("--plan", "plan_only", is_flag=True, help="Show the layers with sizes and reasons, and make nothing.")
@click.option("--format", type=click.Choice(list(FORMATS["plan"])), help="Of --plan. [default: text]")
@click.option(
    "--codec", type=click.Choice(["gzip", "zstd", "none"]), help="What layers are packed with [default: gzip]."
)
@click.option(
    "--serve",
    type=click.Choice(["fastapi", "mlserver", "mlflow", "none"]),
    help="Answer HTTP for the model, on port 8080 (docs/serve.md). [default: what LOCK was made for]",
)
@click.option(
    "--kubernetes",
    type=_PATH,
    metavar="FILE",
    help="Write a manifest that runs it; with --serve or --health.",
)
@strip_options
@click.option(
    "--attach",
    metavar="WHAT",
    help="Put beside the image, as referrers: sbom, provenance, lock, snapshot, with commas between; all or none. "
    "[default: all in a registry, none in a layout]",
)
@click.option(
    "--sign-key",
    type=_PATH,
    metavar="FILE",
    help="Sign the image and its provenance, as cosign does: ECDSA P-256, in PEM or cosign's own; COSIGN_PASSWORD.",
)
@click.option(
    "--verify",
    "verified",
    type=click.Choice(["facts", "full", "none"]),
    default="facts",
    show_default=True,
    help="Hold what was made against LOCK: its facts before it is written, or all of it, as `envparity verify` does.",
)
@os_mirror_option
@insecure_option
@common_options
def command(
    common: Common,
    lock: Path,
    outputs: tuple[str, ...],
    name: str,
    models: tuple[Path, ...],
    app: Path | None,
    ca_bundle: Path | None,
    chosen: dict[str, Any],
    platforms: tuple[str, ...],
    host: str | None,
    plan_only: bool,
    format: str | None,
    codec: str | None,
    serve: str | None,
    strip: tuple[str, ...],
    kubernetes: Path | None,
    attach: str | None,
    os_mirrors: tuple[str, ...],
    sign_key: Path | None,
    verified: str,
    insecure: bool,
) -> int:
    """
    Assemble the image of LOCK: no daemon, no root, no Dockerfile, and the same bytes on any machine.

    \b
      envparity build pylock.toml --model model.joblib --output oci:image
      envparity build pylock.toml --app . --output docker-archive:image.tar \\
        -t tickets:1
      docker load -i image.tar
      envparity build pylock.toml --model model.joblib --serve fastapi \\
        --output registry:ghcr.io/team/model:1 --kubernetes model.yaml
      envparity build pylock.toml --model model.joblib --plan
    """
    import os

    import msgspec

    from envparity import build, files, preparation
    from envparity.attached import beside, kinds
    from envparity.errors import UsageError, worst
    from envparity.image.options import options
    from envparity.image.serving import is_started
    from envparity.oci import places
    from envparity.oci.keys import private_key

    if format and not plan_only:
        raise UsageError("`--format` is that of `--plan`, which is not there", hint="add --plan, or leave it out")
    if not outputs and not plan_only:
        raise UsageError(
            "where should the image go?",
            hint="name a place: `--output oci:image` or `--output docker-archive:image.tar`",
        )
    for output in outputs if insecure else ():
        places.require_here(output)
    configured = msgspec.structs.replace(options(**chosen), strip=strip)
    server = preparation.server_of(lock, serve)
    wanted = beside.Wanted(
        kinds.chosen(attach) if attach is not None else None,
        private_key(sign_key, os.environ) if sign_key is not None else None,
    )
    if kubernetes is not None:
        from envparity.image import kubernetes as manifests

        if plan_only:
            raise UsageError("`--plan` makes no image, and `--kubernetes` is of one", hint="leave one of them out")
        manifests.require_asked(server, configured.health)
        manifests.image_of(outputs, name)
        files.check_target(kubernetes)
    stated = build.platforms_of(lock, platforms)
    platform = stated[0] if len(stated) == 1 else ""
    if len(stated) > 1 and plan_only:
        raise UsageError("`--plan` shows one image", hint="name one `--platform`")
    if len(stated) > 1 and host is not None:
        raise UsageError("`--host` is one machine, and several platforms are asked for", hint="name one `--platform`")
    request = build.Request(
        lock=lock,
        outputs=outputs,
        name=name,
        models=models,
        app=app,
        options=configured,
        environ=os.environ,
        platform=platform,
        serve=server,
        codec=codec or "",
        beside=wanted,
        written_at=stated_time(),
        host=_host(host),
        look=verified != "none",
        ca_bundle=ca_bundle,
    )
    with common.fetcher(os_mirrors=os_mirrors, insecure=insecure) as fetcher:
        if plan_only:
            told = build.planned(request, fetcher=fetcher)
            emit(rendered("plan", format or "text", told, style(None), verbose=common.verbose), None)
            return 0
        if len(stated) > 1:
            index, images = build.assemble_several(request, stated, fetcher=fetcher)
            digest = index.digest
        else:
            images = (build.assemble(request, fetcher=fetcher),)
            digest = images[0].image.digest
        full = images if verified == "full" else ()
        found = [(output, _verdict(output, built, request, fetcher)) for output in outputs for built in full]
    if server and serve is None:
        common.say(f"serves by {server}, as the lock was made for (--serve none: without)")
    for built in images:
        if len(images) > 1:
            common.say(f"{built.image.platform}  {built.image.digest}")
        _tell(common, built)
    for output in outputs:
        common.say(f"wrote {output}")
        if output in images[0].attached:
            common.say(f"  beside it: {', '.join(images[0].attached[output])}")
    for output in outputs if server and is_started(images[0].plan.options) else ():
        _tell_start(common, output, images[0].plan.options)
    if kubernetes is not None:
        image, pull = manifests.image_of(outputs, name, digest)
        text = manifests.manifest(images[0].plan.options, image, pull, [built.image.platform for built in images])
        files.write_bytes(kubernetes, text.encode())
        common.say(f"wrote {kubernetes}: kubectl apply -f {kubernetes}")
    for output, verdict in found:
        text = rendered("verdict", "text", verdict, style("-"), verbose=common.verbose)
        for line in [f"verified {output} {verdict.digest[:19]}"] if verdict.passed else text.splitlines():
            common.say(line)
    emit(f"{digest}\n", None)
    return worst(*(verdict.status for _, verdict in found))


def _tell(common: Common, built: Built) -> None:
    """The layers of one image, and what its builder should know."""
    titles = [style("-")._replace(width=_TITLE).clipped(plain(layer.title)) for layer in built.plan.layers]
    width = max(map(len, titles))
    for layer, title, size in zip(built.plan.layers, titles, built.sizes, strict=True):
        common.say(f"  {layer.step:<12} {title:<{width}}  {size / 1e6:8.1f} MB")
    for note in built.notes:
        common.say_wrapped(f"note: {note}")


def _tell_start(common: Common, output: str, options: Options) -> None:
    """How the server of an image in an engine is started, and asked what it takes."""
    from envparity.image import kubernetes as manifests

    if start := manifests.by_docker(output, options):
        common.say(f"  start it: {start}")
        if asked := manifests.by_curl(options):
            common.say(f"  what it takes: {asked}")


_TITLE = 50
"""How wide the name of a layer may be, so that its line has 80 columns at most."""


def _host(reference: str | None) -> Environment | None:
    """The host that an image is for, as it was recorded."""
    if reference is None:
        return None
    from envparity import sources
    from envparity.cli.configured import named

    return sources.read(named(reference))


def _verdict(output: str, built: Built, request: Request, fetcher: Fetcher) -> Verdict:
    """What `envparity verify` says of the image in one of its places."""
    import dataclasses

    import msgspec

    from envparity import verify
    from envparity.oci.places import parse_reference

    there = parse_reference(output)
    if there.scheme in {"oci", "registry"}:
        there = dataclasses.replace(there, tag="", digest=built.image.digest)
    asked = verify.Request(
        str(there),
        str(request.lock),
        request.app,
        msgspec.structs.replace(request.options, ca_bundle=built.plan.options.ca_bundle),
        environ=request.environ,
        platform=built.plan.platform,
    )
    return verify.against(asked, fetcher=fetcher)
