"""The server that an image will start (`--serve`): what it needs is added beside what trained the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from envparity.locking.asked import Asked
from envparity.values import LockedModel


def with_server(asked: Asked, models: Iterable[LockedModel], present: Collection[str]) -> Asked:
    """
    The same with what the server needs for these models among what is added.

    Args:
        present: the names of what is there already; a resolver leaves that as it is.

    Raises:
        UsageError: the server does not serve one of the models.
    """
    if not asked.serve:
        return asked
    from envparity.image import serving

    wanted = [
        name if name in present else f"{name}{serving.FLOORS.get(name, '')}"
        for name in serving.requirements(asked.serve, models, present)
    ]
    return replace(asked, added=(*asked.added, *wanted))
