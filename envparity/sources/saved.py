"""A saved environment (`*.env.json`): read back as it was written."""

from __future__ import annotations

from pathlib import Path

from envparity import codec
from envparity.sources.reading import Options
from envparity.values import Environment


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment in a file that `envparity snapshot` wrote. It keeps its own origin: where it was taken, and when.

    Raises:
        MalformedError: cut short, of another format or a newer schema, changed by hand.
    """
    return codec.load_environment(data, f"`{Path(name).name}`")
