"""Another processor than this one, by qemu: what a library computes there shows whether it looks at the processor."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.tools import not_here

CHECKOUT = Path(__file__).resolve().parent.parent
PACK = """
import hashlib, io, sys
sys.path[:0] = sys.argv[1:]
from envparity.oci.pack import current_packer, pack
data = b"".join(b"%d;" % (number * number) for number in range(150_000))
for codec in ("gzip", "zstd"):
    print(codec, pack(lambda sink: sink.write(data), current_packer(codec), io.BytesIO(), threads=2).digest)
"""


def emulator(machine: str) -> str:
    """The path of qemu's emulator of one processor: Debian 12 calls the one that needs no library `-static`."""
    names = (f"qemu-{machine}-static", f"qemu-{machine}")
    return next((path for name in names if (path := shutil.which(name))), "") or not_here("qemu-user is not installed")


def packed_by(python: Sequence[str], libraries: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> str:
    """The digest of a layer for each codec, as envparity packs it in that Python with these folders of libraries."""
    done = subprocess.run(
        [*python, "-S", "-c", PACK, CHECKOUT, *libraries],
        env=environ, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.count(" sha256:") == 2, done.stdout
    return done.stdout
