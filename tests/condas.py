"""Real conda environments without a channel: packages made here, indexed, solved and installed by rattler."""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard


def package(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes] | None = None,
    depends: Sequence[str] = (),
    *,
    build: str = "h1_0",
    ending: str = ".conda",
) -> None:
    """
    A package in either of conda's forms, for this machine
    (https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/packages.html).
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = files or {f"share/{name}.txt": name.encode()}
    index = {"name": name, "version": version, "build": build, "build_number": 0, "depends": list(depends)}
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, data in files.items()
    ]
    info = {
        "info/index.json": json.dumps({**index, "subdir": folder.name}).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
    }
    stem = f"{name}-{version}-{build}"
    if ending == ".tar.bz2":
        (folder / f"{stem}.tar.bz2").write_bytes(bz2.compress(_tar({**info, **files})))
        return
    with zipfile.ZipFile(folder / f"{stem}.conda", "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", zstandard.compress(_tar(files)))
        archive.writestr(f"info-{stem}.tar.zst", zstandard.compress(_tar(info)))


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def installed(channel: Path, prefix: Path, *specs: str) -> Path:
    """What rattler makes of these specifications and this channel: a solved environment, with its records."""
    rattler: Any = pytest.importorskip("rattler", reason="py-rattler is not installed")
    index: Any = pytest.importorskip("rattler.index")

    async def make() -> None:
        await index.index_fs(channel)
        records = await rattler.solve(
            sources=[rattler.Channel(channel.as_uri())],
            specs=specs,
            platforms=[subdir(), "noarch"],
            virtual_packages=rattler.VirtualPackage.detect(),
        )
        # It takes what the binding holds, not the binding's own class.
        wanted = [rattler.MatchSpec(spec)._match_spec for spec in specs]
        await rattler.install(
            records,
            prefix,
            cache_dir=channel.parent / "cache",
            show_progress=False,
            requested_specs=wanted,
        )

    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(make())
    return prefix


def subdir() -> str:
    """The folder of a channel that this machine's packages lie in."""
    return {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[os.uname().machine]


def with_python(prefix: Path) -> Path:
    """Put a working Python into a prefix, as conda's package has it: the executable itself, and its library around."""
    base = Path(sys.base_prefix)
    folder = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (prefix / "bin").mkdir(exist_ok=True)
    library = prefix / "lib" / folder
    (library / "site-packages").mkdir(parents=True, exist_ok=True)
    for entry in (base / "lib" / folder).iterdir():
        if entry.name not in {"site-packages", "dist-packages"}:
            (library / entry.name).symlink_to(entry)
    shutil.copy2(os.path.realpath(base / "bin" / folder), prefix / "bin" / folder)
    (prefix / "bin" / "python").symlink_to(folder)
    return library / "site-packages"
