"""Layers are kept by what decides their bytes; code that would make other bytes has to say so."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from envparity.image import wheels
from envparity.image.layout import LAYOUT
from envparity.oci.tar import write_layer
from envparity.values import Packer
from tests.wheels import pack

GOLDEN = {1: "40d3079df0f6d554e7692f4a790efb3837bce372db751ae06052e46a8927cf92"}
"""By `Packer.layout`: the sha256 of the tar that the wheel below becomes."""


def test_locks_are_made_for_the_layout_that_the_code_has() -> None:
    assert Packer().layout == LAYOUT


def test_the_same_wheel_becomes_the_same_layer_as_ever(tmp_path: Path) -> None:
    """
    A cached layer is found by its inputs and by `Packer.layout`. Whoever changes what a layer is made of raises that
    number, or old layers are taken for new ones, and a lock no longer gives the image that it gave.
    """
    wheel = pack(
        tmp_path,
        {
            "demo/__init__.py": b"answer = 42\n",
            "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n",
        },
    )
    sink = io.BytesIO()

    write_layer(sink, [*wheels.wheel_entries(wheel), *wheels.venv_entries("3.11", "/usr/bin", "3.11.2")])

    assert hashlib.sha256(sink.getvalue()).hexdigest() == GOLDEN[Packer().layout]
