"""
What one planned layer holds, as entries. Where the bytes lie on this machine is a value, `Supplies`; what they become
is decided here, once, for `build` (which packs them) and for `verify` (which holds an image against them).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envparity.image import app, base, conda, interpreter, serving, wheels
from envparity.image.plan import PREFIX
from envparity.oci.entries import Entry
from envparity.values import Lock, PlannedLayer, Step, Target

LAYOUT = 1
"""
The number of the rules by which packages, wheels and interpreters become entries, as a lock records it (`Packer`).
Whoever changes these rules raises it here and there.
"""

PAPERS = "usr/share/envparity"
MODELS = "opt/model"


@dataclass(frozen=True)
class Supplies:
    """
    The bytes that a lock promises, at hand: `files` by sha256 (packages, wheels, artifacts), the models by name, the
    application's folder, and the lock's own bytes.
    """

    lock: Lock
    target: Target
    lock_bytes: bytes
    files: Mapping[str, Path]
    models: Mapping[str, Path] = field(default_factory=dict)
    app: Path | None = None

    @functools.cached_property
    def base_entries(self) -> tuple[Entry, ...]:
        """The lowest layer's entries; every other layer takes the headers of its parent folders from them."""
        return tuple(base.base_entries(self.target.os_packages, self.files))

    @functools.cached_property
    def folders(self) -> dict[str, Entry]:
        """What may be a parent in a higher layer: the folders of the base, and its links, which may not."""
        return {entry.path: entry for entry in self.base_entries if entry.kind in {"folder", "link"}}

    @functools.cached_property
    def wheels(self) -> dict[str, list[Entry]]:
        """What each wheel puts into the environment, by the wheel's sha256; two owners of one path are refused."""
        python = ".".join(self.target.interpreter.version.split(".")[:2])
        found = {
            item.wheel.sha256: wheels.wheel_entries(
                self.files[item.wheel.sha256],
                file_name=item.wheel.name,
                prefix=PREFIX,
                python_xy=python,
                interpreter=f"/{PREFIX}/bin/python",
            )
            for item in self.lock.distributions
        }
        titles = {item.wheel.sha256: f"{item.name} {item.version}" for item in self.lock.distributions}
        wheels.conflicts([("the environment", self.frame), *((titles[sha256], found[sha256]) for sha256 in found)])
        return found

    @functools.cached_property
    def conda(self) -> dict[str, list[Entry]]:
        """What each conda package puts into the prefix, by the package's sha256."""
        python = ".".join(self.target.interpreter.version.split(".")[:2])
        spool = conda.Spool()
        return {
            item.sha256: conda.package_entries(item, self.files[item.sha256], spool, prefix=PREFIX, python_xy=python)
            for item in self.target.conda_packages
        }

    @functools.cached_property
    def frame(self) -> list[Entry]:
        """The virtual environment that the wheels lie in, or the prefix of conda's."""
        found = self.target.interpreter
        if found.kind == "conda":
            return conda.frame(PREFIX)
        python = ".".join(found.version.split(".")[:2])
        return wheels.venv_entries(python, found.executable.rpartition("/")[0], found.version, prefix=PREFIX)

    @functools.cached_property
    def owners(self) -> dict[str, str]:
        """Which locked thing each path of the image comes from, for a message that names it."""
        owners = dict(base.owners(self.base_entries))
        for package in self.target.conda_packages:
            owners |= {entry.path: f"{package.name} {package.version}" for entry in self.conda[package.sha256]}
        for item in self.lock.distributions:
            owners |= {entry.path: f"{item.name} {item.version}" for entry in self.wheels[item.wheel.sha256]}
        return owners

    def entries(self, layer: PlannedLayer) -> list[Entry]:
        """Everything that a layer holds, without the parents that the writer adds."""
        match layer.step:
            case Step.BASE:
                return list(self.base_entries)
            case Step.INTERPRETER:
                return self._interpreter_entries()
            case Step.CONDA:
                return self._conda_entries(layer.inputs[2::2])
            case Step.WHEELS:
                return self._wheel_entries(layer.inputs[2:])
            case Step.MODEL:
                return [self._model_entry(layer.inputs[0], int(layer.inputs[1]))]
            case Step.APP:
                return app.app_entries(self.app) if self.app is not None else []
            case Step.SERVER:
                return serving.server_entries(layer.inputs[1])
            case Step.PAPERS:
                return self._papers()

    def _conda_entries(self, digests: tuple[str, ...]) -> list[Entry]:
        """Of two packages that write one path, what the later one writes."""
        once = {entry.path: entry for sha256 in digests for entry in self.conda[sha256]}
        return [once[path] for path in sorted(once)]

    def _interpreter_entries(self) -> list[Entry]:
        artifact = self.target.interpreter.artifact
        captured = [] if artifact is None else interpreter.interpreter_entries(self.files[artifact.sha256])
        return [*captured, *self.frame]

    def _wheel_entries(self, digests: tuple[str, ...]) -> list[Entry]:
        return wheels.merged([(digest, self.wheels[digest]) for digest in digests])

    def _model_entry(self, name: str, size_bytes: int) -> Entry:
        place = self.models[name]
        return Entry(f"{MODELS}/{name}", "file", 0o644, size_bytes=size_bytes, content=lambda: place.open("rb"))

    def _papers(self) -> list[Entry]:
        snapshot = self.files[self.lock.snapshot.sha256].read_bytes()
        papers = {"pylock.toml": self.lock_bytes, f"pylock.artifacts/{self.lock.snapshot.name}": snapshot}
        return [
            Entry(f"{PAPERS}/{name}", "file", 0o644, size_bytes=len(data), content=data)
            for name, data in papers.items()
        ]
