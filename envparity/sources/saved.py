"""A saved environment (`*.env.json`): read back as it was written."""

from __future__ import annotations

from pathlib import Path

from envparity import codec, files
from envparity.sources.reading import Options
from envparity.values import Environment


def read(reference: str, options: Options) -> Environment:
    """
    The Environment in a file that `envparity snapshot` wrote. It keeps its own origin: where it was taken, and when.

    Raises:
        UsageError: no such file. MalformedError: cut short, of another format or a newer schema, changed by hand.
    """
    return parse(files.read_bytes(options.base_dir / reference, what="saved environment"), f"`{reference}`")


def parse(data: bytes, name: str) -> Environment:
    """The same for bytes that were read already; `name` is what errors call them."""
    return codec.load_environment(data, name if name.startswith("`") else f"`{Path(name).name}`")
