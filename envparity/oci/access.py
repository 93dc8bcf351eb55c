"""What it takes to open an image that does not lie in a file: a client, a cache, the user's own settings."""

from __future__ import annotations

__all__ = ["Access"]

from collections.abc import Mapping
from dataclasses import dataclass, field

from envparity.cache import Cache
from envparity.network import Client


@dataclass(frozen=True)
class Access:
    """
    How to reach places.

    Args:
        client: asks registries; its owner closes it.
        cache: keeps documents and what was learned of layers; without one nothing is kept.
        environ: the variables of envparity's own process: where logins and the engine's socket are.
        patience_s: how long a place may take for a small answer, and how far it may fall behind with a large one.
    """

    client: Client = field(default_factory=Client)
    cache: Cache | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 60.0
