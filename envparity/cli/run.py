"""`envparity run`"""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("image")
@click.argument("argv", nargs=-1, metavar="[-- CMD]", type=click.UNPROCESSED)
@common_options
def command(common: Common, image: str, argv: tuple[str, ...]) -> int:
    """
    Run a command inside an image, without an engine.

    The image is unpacked into a private folder, and the command started there by bubblewrap, in a user namespace or by
    chroot, whichever this machine allows; it says which, as whom, and that there is no network inside, or that there
    is one. Without CMD the image's own entry point runs. The exit status is that of the command.

    \b
      envparity run oci:image -- python -c "import sys; print(sys.version)"
    """
    import os

    from envparity import run
    from envparity.oci.access import Access

    with common.fetcher() as fetcher:
        access = Access(fetcher.client, fetcher.cache, os.environ)
        status = run.inside(image, argv, access=access, progress=common.progress, say=common.say)
    return status if status >= 0 else 128 - status
