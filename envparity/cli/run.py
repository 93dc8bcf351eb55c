"""`envparity run`"""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, insecure_option


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("image")
@click.argument("argv", nargs=-1, metavar="[-- CMD]", type=click.UNPROCESSED)
@insecure_option
@common_options
def command(common: Common, image: str, argv: tuple[str, ...], insecure: bool) -> int:
    """
    Run a command inside an image, without an engine.

    The image is unpacked into a private folder, and the command started there by bubblewrap, in a user namespace or by
    chroot, whichever this machine allows; it says which, as whom, and that there is no network inside, or that there
    is one. Without CMD the image's own entry point runs. Of several platforms it is the image of this machine's. The
    exit status is that of the command.

    \b
      envparity run oci:image -- python -c "import sys; print(sys.version)"
    """
    import os

    from envparity import run
    from envparity.oci import places
    from envparity.oci.access import Access

    if insecure:
        places.require_here(image)
    with common.fetcher(insecure=insecure) as fetcher:
        access = Access(fetcher.client, fetcher.cache, os.environ)
        status = run.inside(image, argv, access=access, progress=common.progress, say=common.say)
    return status if status >= 0 else 128 - status
