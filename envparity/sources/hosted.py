"""An environment as it is on a host: what an image cannot carry comes from the host that it will run on."""

from __future__ import annotations

import msgspec

from envparity.errors import UsageError
from envparity.sources.gpu_libraries import with_gpu_libraries
from envparity.values import Environment

SECTIONS = ("host", "cpu", "accelerators")


def on_host(environment: Environment, host: Environment) -> Environment:
    """
    The same environment with the processor, accelerators and limits of a host; and with its system, where it has none
    of its own, since it would be installed there.

    Raises:
        UsageError: the host knows nothing of these.
    """
    known = [name for name in SECTIONS if getattr(host, name) is not None]
    if not known:
        raise UsageError(
            f"`{host.origin.reference}` knows no processor, accelerator or limits: it is no host",
            hint="take a snapshot on the host itself: `envparity snapshot -o node.env.json`",
        )
    taken = [*SECTIONS, *(["system"] if environment.system is None else [])]
    gaps = [gap for gap in environment.gaps if gap.section not in taken]
    gaps += [gap for gap in host.gaps if gap.section in taken]
    placed = msgspec.structs.replace(environment, gaps=tuple(gaps), **{name: getattr(host, name) for name in taken})
    return with_gpu_libraries(placed)
