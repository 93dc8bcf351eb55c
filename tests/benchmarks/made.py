"""
Environments of a stated size for the benchmarks: metadata as long as that of real wheels, and files with their hashes.

They are made of text and noise, and nothing in them can be imported to any purpose; what reads an environment cannot
tell the difference.
"""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path

ROWS = 230
"""Rows of a RECORD: 235 distributions of a real environment for machine learning have 54,800 files."""

_CLASSIFIERS = "".join(f"Classifier: Programming Language :: Python :: 3.{minor}\n" for minor in range(8, 30))
_BODY = "A sentence of a description, as long as such sentences are, and of no further interest to anybody.\n" * 120


def distributions(site_packages: Path, count: int) -> None:
    """`count` distributions with metadata, each with a package of three small files that are really there."""
    for number in range(count):
        name = f"lib{number:04d}"
        package, info = site_packages / name, site_packages / f"{name}-1.{number}.dist-info"
        package.mkdir()
        info.mkdir()
        rows = [f"{name}/{_path(row)},sha256={_digest(str(row).encode())},{row * 37 + 300}" for row in range(ROWS)]
        rows += [f"{name}/__pycache__/m{row}.cpython-311.pyc,," for row in range(ROWS // 4)]
        for row in range(3):
            (package / _path(row)).write_text("VALUE = 1\n" * 30)
        needs = "".join(f"Requires-Dist: lib{(number + step) % count:04d}>=1.0\n" for step in range(1, 5))
        extras = "".join(f'Requires-Dist: extra{step}; extra == "all"\n' for step in range(6))
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\nRequires-Python: >=3.8\n"
        (info / "METADATA").write_text(f"{head}{_CLASSIFIERS}{needs}{extras}Provides-Extra: all\n\n{_BODY}")
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        (info / "INSTALLER").write_text("pip\n")
        (info / "top_level.txt").write_text(f"{name}\n")
        if number % 4 == 0:
            (info / "entry_points.txt").write_text(f"[console_scripts]\n{name} = {name}:main\n")
        (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", ""]))


def files(site_packages: Path, count: int, total_bytes: int) -> None:
    """40 distributions with `count` files of `total_bytes` together: most are small, and two of each have the rest."""
    random.seed(1)
    noise = random.randbytes(1 << 20)
    small = [500, 2_000, 8_000, 20_000]
    large = max((total_bytes - count * sum(small) // len(small)) // 80, 1)
    for number in range(40):
        name, rows = f"big{number:02d}", []
        for index in range(count // 40):
            size = large if index < 2 else small[(number + index) % len(small)]
            path = site_packages / name / f"part{index % 30}" / f"f{index}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            start = (number * 7919 + index * 104729) % (1 << 19)
            data = noise[start : start + size] if size < 1 << 19 else (noise * (size // len(noise) + 1))[:size]
            path.write_bytes(data)
            rows.append(f"{path.relative_to(site_packages)},sha256={_digest(data)},{size}")
        info = site_packages / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n")
        (info / "RECORD").write_text("\n".join([*rows, ""]))


def _path(row: int) -> str:
    return "__init__.py" if row == 0 else f"m{row}.py" if row < 20 else f"part{row % 9}/m{row}.py"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
