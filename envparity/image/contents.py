"""
What one planned layer holds, as entries. Where the bytes lie on this machine is a value, `Supplies`; what they become
is decided here, once, for `build` (which packs them) and for `verify` (which holds an image against them).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envparity.collectors.surroundings import AUTHORITIES
from envparity.image import app, authorities, base, base_layers, conda, interpreter, model, serving, stripping, wheels
from envparity.image.bytecode import Bytecode, Unit, of_wheel
from envparity.image.plan import PREFIX
from envparity.oci.entries import Entry
from envparity.values import Lock, LockedCondaPackage, PlannedLayer, Step, Target, python_xy

PAPERS = "usr/share/envparity"

_OF_PYTHON = re.compile(
    r".*\.so(?:\.[^/]*)?|.*/lib/python3\.\d+/.*\.py|.*/(?:bin/python3[^/]*|ld-linux[^/]*|ld-2[^/]*\.so)"
)


_AUTHORITIES = (*AUTHORITIES, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
"""Where a base may have its bundle; of Fedora the last one is the file that others link to."""


def _is_of_python(path: str) -> bool:
    """Whether a file of a base may be one that a Python is started with."""
    return _OF_PYTHON.fullmatch(path) is not None and "-packages/" not in path


@dataclass(frozen=True)
class Supplies:
    """
    The bytes that a lock promises, at hand: `files` by sha256 (packages, wheels, artifacts), the models by name, the
    application's folder, and the lock's own bytes. `known_folders` are those of the base, where they were noted.
    `layers` brings those of a base that is an image here, by digest.
    `bytecode` makes what goes beside the sources, where the lock asks for it; `strip` is left out of wheels
    and conda packages.
    `authorities` are those of one's own, in PEM.
    """

    lock: Lock
    target: Target
    lock_bytes: bytes
    files: Mapping[str, Path]
    models: Mapping[str, Path] = field(default_factory=dict)
    app: Path | None = None
    known_folders: Mapping[str, Entry] | None = None
    layers: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    bytecode: Bytecode | None = None
    strip: tuple[str, ...] = ()
    authorities: bytes = b""

    @property
    def compiled_by(self) -> str:
        """The version of the Python that makes the byte code, where that is another one than the image's; else ""."""
        if self.bytecode is None:
            return ""
        by = self.bytecode.compiled_by or self.bytecode.version
        return by if by != self.target.interpreter.version else ""

    @functools.cached_property
    def base_entries(self) -> tuple[Entry, ...]:
        """
        What the locked OS packages become: the lowest layer, of which every other takes the headers of its parent
        folders; or what is put on top of an image, where these are what the lock knows of it.
        """
        packages = self.target.os_packages
        image = self.target.image
        if image is not None:
            accounts = {"passwd": image.passwd, "group": image.group}
            return tuple(base.entries_on_top(packages, self.files, self.folders, accounts))
        return tuple(base.base_entries(packages, self.files))

    @functools.cached_property
    def folders(self) -> dict[str, Entry]:
        """What may be a parent in a higher layer: the folders of the base, and its links, which may not."""
        if self.target.image is not None:
            return {
                each.path: Entry(
                    each.path, "link" if each.target else "folder", each.mode, each.uid, each.gid, target=each.target
                )
                for each in self.target.image.folders
            }
        if self.known_folders is not None:
            return dict(self.known_folders)
        return {entry.path: entry for entry in self.base_entries if entry.kind in {"folder", "link"}}

    @functools.cached_property
    def wheels(self) -> dict[str, list[Entry]]:
        """What each wheel puts into the environment, by the wheel's sha256; two owners of one path are refused."""
        found = {item.wheel.sha256: self.wheel(item.wheel.sha256) for item in self.lock.distributions}
        titles = {item.wheel.sha256: f"{item.name} {item.version}" for item in self.lock.distributions}
        wheels.conflicts([("the environment", self.frame), *((titles[sha256], found[sha256]) for sha256 in found)])
        return found

    def wheel(self, sha256: str) -> list[Entry]:
        """What one wheel puts into the environment."""
        if sha256 not in self._opened:
            self._opened[sha256] = wheels.wheel_entries(
                self.files[sha256],
                file_name=next(item.wheel.name for item in self.lock.distributions if item.wheel.sha256 == sha256),
                prefix=PREFIX,
                python_xy=python_xy(self.target.interpreter.version),
                interpreter=f"/{PREFIX}/bin/python",
                strip=self.strip,
            )
        return self._opened[sha256]

    @functools.cached_property
    def _opened(self) -> dict[str, list[Entry]]:
        return {}

    @functools.cached_property
    def conda(self) -> dict[str, list[Entry]]:
        """What each conda package puts into the prefix, by the package's sha256."""
        python = python_xy(self.target.interpreter.version)
        spool = conda.Spool()
        found = {
            item.sha256: conda.package_entries(
                item, self.files[item.sha256], spool, prefix=PREFIX, python_xy=python, strip=self.strip
            )
            for item in self.target.conda_packages
        }
        conda.refuse_through_links((item.file_name, found[item.sha256]) for item in self.target.conda_packages)
        return found

    @functools.cached_property
    def frame(self) -> list[Entry]:
        """The virtual environment that the wheels lie in, or the prefix of conda's."""
        found = self.target.interpreter
        if found.kind == "conda":
            return conda.frame(PREFIX)
        python = python_xy(found.version)
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
            case Step.BASE | Step.PACKAGES:
                return self._compiled(self.base_entries)
            case Step.IMAGE:
                raise AssertionError("a layer of another image is never made of entries")
            case Step.INTERPRETER:
                return self._interpreter_entries()
            case Step.CONDA:
                return self._conda_entries(layer.inputs[2::2])
            case Step.AUTHORITIES:
                return authorities.entries(self.authorities, self._usual_authorities())
            case Step.WHEELS:
                return self._wheel_entries(layer.inputs[2:])
            case Step.MODEL:
                return model.entries(layer, self.models)
            case Step.APP:
                return self._compiled(app.app_entries(self.app)) if self.app is not None else []
            case Step.SERVER:
                return self._compiled(serving.server_entries(layer.inputs[1]))
            case Step.PAPERS:
                return self._papers()

    def _usual_authorities(self) -> bytes:
        """Those of the base, as its packages or its layers have them; none where it has none."""
        image = self.target.image
        if image is None:
            return base.authorities(self.target.os_packages, self.files)
        found = {f"/{it.path}": it for it in base_layers.files(image, self.layers, _AUTHORITIES.__contains__)}
        held = (found[path].content for path in _AUTHORITIES if path in found)
        return next((content for content in held if isinstance(content, bytes)), b"")

    def _conda_entries(self, digests: tuple[str, ...]) -> list[Entry]:
        """Of two packages that write one path, what the later one writes."""
        known = {item.sha256: item for item in self.target.conda_packages}
        units = {sha256: Unit(self.conda[sha256], self._key_of(known[sha256])) for sha256 in digests}
        packages = self._each_compiled(units)
        once = {entry.path: entry for entries in packages.values() for entry in entries}
        return [once[path] for path in sorted(once)]

    def _key_of(self, item: LockedCondaPackage) -> str:
        """What the sources of a conda package are: those of its file, less what pip replaced and what is left out."""
        less = [one.name for one in item.replaced]
        less += [*self.strip, f"stripped ({stripping.RULES})"] if self.strip else []
        return " less ".join([f"{PREFIX} {item.sha256}", *([",".join(less)] if less else [])])

    def python_entries(self) -> list[Entry]:
        """The files that the image's Python is started with: those of the base, and of the interpreter."""
        packages = [entry for package in self.conda.values() for entry in package]
        return [*self._base_files(), *self.base_entries, *packages, *self._captured()]

    def _base_files(self) -> list[Entry]:
        """Of a base that is an image: its loader, libraries and modules of Python, and all links."""
        image = self.target.image
        return [] if image is None else base_layers.files(image, self.layers, _is_of_python)

    def _captured(self) -> list[Entry]:
        artifact = self.target.interpreter.artifact
        return [] if artifact is None else interpreter.interpreter_entries(self.files[artifact.sha256])

    def _interpreter_entries(self) -> list[Entry]:
        return self._compiled([*self._captured(), *self.frame])

    def _wheel_entries(self, digests: tuple[str, ...]) -> list[Entry]:
        return wheels.merged(list(self._each_compiled({each: of_wheel(self.wheel(each)) for each in digests}).items()))

    def _compiled(self, entries: Sequence[Entry]) -> list[Entry]:
        return list(entries) if self.bytecode is None else self.bytecode.added([Unit(entries)], self.python_entries)[0]

    def _each_compiled(self, units: Mapping[str, Unit]) -> Mapping[str, Sequence[Entry]]:
        if self.bytecode is None:
            return {name: unit.entries for name, unit in units.items()}
        return dict(zip(units, self.bytecode.added(list(units.values()), self.python_entries), strict=True))

    def _papers(self) -> list[Entry]:
        snapshot = self.files[self.lock.snapshot.sha256].read_bytes()
        papers = {"pylock.toml": self.lock_bytes, f"pylock.artifacts/{self.lock.snapshot.name}": snapshot}
        return [
            Entry(f"{PAPERS}/{name}", "file", 0o644, size_bytes=len(data), content=data)
            for name, data in papers.items()
        ]
