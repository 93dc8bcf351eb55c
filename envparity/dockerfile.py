"""
A lock as a folder that plain `docker build` takes: the way out, for whoever wants to go on by hand.

    1  prepare   what the image is made of, and the plan of it, as `build` has them
    2  pack      base, interpreter and conda packages, as the layers that they are
    3  write     texts, layers, wheels and files, beside the folder, which takes its name when it is whole
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from envparity import preparation
from envparity.attached.about import contents_of
from envparity.codec.shapes import require_known, shaped
from envparity.codec.strict_json import load_json
from envparity.errors import RefusedError, UsageError
from envparity.fetch import Fetcher, Wanted
from envparity.files import (
    Member,
    make_folder,
    populate,
    private_folder,
    read_bytes,
    replacing,
    translated,
    write_bytes,
)
from envparity.image import app, base_layers, configuration, layers, model
from envparity.image import dockerfile as instructions
from envparity.oci.entries import Entry, Kind
from envparity.oci.pack import current_packer, pack, place_of
from envparity.values import Packer, Step
from envparity.writers import requirements
from envparity.writers.contents import Contents


@dataclass(frozen=True)
class Written:
    """
    A folder that was written: the size in bytes of each part of it, by name, whether building takes a login, and the
    image that it stands on and that is not in it, if any.
    """

    sizes: Mapping[str, int]
    needs_login: bool
    base: str = ""


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """What the marker of a folder says: the sha256 of every file that was written into it, "" of a link."""

    schema: int = 1
    files: dict[str, str]


def write(request: preparation.Request, folder: Path, *, vendor: bool, fetcher: Fetcher) -> Written:
    """
    Write the folder of a lock. One that this wrote before is replaced, unless somebody changed it since.

    Args:
        request: as for an image; it names no outputs.
        vendor: with every wheel in it, so that building it asks no network.

    Raises:
        RefusedError: a folder of ours was changed by hand; the configuration cannot stand in a Dockerfile; and what
            `preparation.prepared` refuses. UnsupportedError: a base that has to come along holds a device.
        UsageError: another folder lies there. IntegrityError, UnreachableError: as `preparation.prepared`.
    """
    _require_ours(folder)
    # 1
    ready = preparation.decided(request, preparation.options_of(request))
    ready = dataclasses.replace(ready, supplies=preparation.supplied(request, ready, fetcher=fetcher))
    supplies, _ = layers.looked_into(ready.supplies, fetcher.cache)
    asked = instructions.Asked(
        vendor=vendor,
        lock_name=request.lock.name,
        requirements=requirements.of_dockerfile(_contents(ready, request.lock), vendored=vendor),
        runtime=configuration.runtime(
            ready.lock, ready.target, ready.options, ready.lock_sha256, ready.supplies.compiled_by
        ),
    )
    texts = instructions.documents(ready.plan, supplies, asked)
    pip = instructions.pip_for(supplies)
    program = fetcher.blobs([Wanted(it.name, (it.url,), it.sha256, it.size_bytes) for it in pip])
    # 2
    added = instructions.added(ready.plan)
    packer = ready.lock.packer if ready.lock.packer.codec == "gzip" else current_packer()
    with fetcher.cache.workplace() as workplace:
        planned = [ready.plan.layers[number] for number in added]
        with closing(layers.all_packed(planned, supplies, packer, fetcher.cache, workplace)) as making:
            blobs = {number: place_of(layer.path) for number, layer in zip(added, making, strict=True)}
        base = _whole_base(ready, packer, workplace)
        # 3
        held = [*instructions.files(ready.plan, supplies, blobs, program, vendor=vendor, base=base)]
        read: dict[str, _Read] = {}
        members = [_read_along(member, read) for member in (*map(_text, texts, texts.values()), *held)]
        make_folder(folder.absolute().parent)
        with private_folder(folder.absolute().parent) as beside:
            place = make_folder(beside / "written")
            populate(place, members)
            _require_unchanged(ready, held, {path: each.sha256 for path, each in read.items()})
            links = {member.path: "" for member in members if member.kind == "link"}
            made = _Made(files=dict(sorted((links | {path: each.sha256 for path, each in read.items()}).items())))
            marker = msgspec.json.format(msgspec.json.encode(made), indent=1)
            write_bytes(place / instructions.MARKER, marker + b"\n")
            _take_place(place, folder, beside / "before")
    sizes: dict[str, int] = {}
    for path, each in read.items():
        part = path.partition("/")[0]
        sizes[part] = sizes.get(part, 0) + each.size_bytes
    return Written(sizes, not vendor and instructions.needs_login(ready.lock), instructions.named(ready.target))


def _whole_base(ready: preparation.Prepared, packer: Packer, workplace: Path) -> Path | None:
    """A base that no builder finds by its name, as one layer."""
    image = ready.target.image
    if image is None or not instructions.brings_base(ready.target):
        return None
    place = workplace / instructions.WHOLE_BASE
    with replacing(place) as sink:
        pack(lambda tar: base_layers.whole(image, ready.supplies.layers, tar), packer, sink)
    return place


def _contents(ready: preparation.Prepared, path: Path) -> Contents:
    return dataclasses.replace(contents_of(ready.lock, ready.supplies.lock_bytes, path), folder="wheels")


def _require_unchanged(ready: preparation.Prepared, held: Sequence[Member], read: Mapping[str, str]) -> None:
    """Raise IntegrityError where what was copied is not that whose digest stands in the image's label."""
    for layer in ready.plan.layers:
        if layer.step is Step.MODEL:
            own = {entry.path for entry in ready.supplies.entries(layer)}
            found = instructions.in_image(Step.MODEL, read)
            if other := model.changed(layer, {path: sha256 for path, sha256 in found.items() if path in own}):
                recorded = other in {item.name for item in ready.lock.models}
                raise layers.changed(f"the model `{other}`", recorded=recorded)
        elif layer.step is Step.APP:
            members = instructions.in_image(Step.APP, {member.path: member for member in held})
            entries = [Entry(path, cast(Kind, it.kind), it.mode, target=it.target) for path, it in members.items()]
            if app.digest_of(entries, instructions.in_image(Step.APP, read)) != layer.inputs[0]:
                raise layers.changed(f"the application `{ready.supplies.app}`")


def _require_ours(folder: Path) -> None:
    """Refuse a folder that holds anything but what was written into it."""
    try:
        if not folder.exists() and not folder.is_symlink():
            return
        if folder.is_symlink() or not folder.is_dir():
            raise UsageError(f"`{folder}` is not a folder", hint="name another place with -o")
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    except OSError as error:
        raise translated(error, f"read `{folder}`") from error
    if not found:
        return
    if instructions.MARKER not in found:
        raise UsageError(
            f"`{folder}` holds files, and was not written by `envparity dockerfile`",
            hint="name an empty or a new folder with -o",
        )
    what = f"`{folder / instructions.MARKER}`"
    document = load_json(read_bytes(folder / instructions.MARKER, limit=64 << 20, what=what), what)
    require_known(document, what, 1)
    made = shaped(document, _Made, what)
    others = [f"{path}: not of us" for path in sorted(found - made.files.keys() - {instructions.MARKER})]
    texts = [path for path in sorted(made.files) if path in found and instructions.is_text(path)]
    edited = [path for path in texts if _sha256(folder / path) != made.files[path]]
    if others or edited:
        raise RefusedError(
            f"`{folder}` was changed since it was written, and that would be lost",
            hint="name another folder with -o, and bring the changes over",
            details=(*(f"{path}: edited" for path in edited), *others),
        )


def _sha256(path: Path) -> str:
    """What the marker says of a file as it is."""
    try:
        if path.is_symlink():
            return ""
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise translated(error, f"read `{path}`") from error


def _take_place(new: Path, folder: Path, before: Path) -> None:
    """Give a folder its name; the one that had it vanishes when it is there."""
    try:
        if folder.exists():
            folder.rename(before)
        try:
            new.rename(folder)
        except BaseException:
            if before.exists():
                before.rename(folder)
            raise
    except OSError as error:
        raise translated(error, f"write `{folder}`") from error


def _text(name: str, text: str) -> Member:
    return Member(name, "file", 0o644, open=lambda: io.BytesIO(text.encode()))


def _read_along(member: Member, read: dict[str, _Read]) -> Member:
    """The same member; what was read of a file stands in `read` by its path."""
    opened = member.open
    if member.kind != "file" or opened is None:
        return member

    def begin() -> BinaryIO:
        read[member.path] = _Read(opened())
        return cast(BinaryIO, read[member.path])

    return dataclasses.replace(member, open=begin)


class _Read:
    """A stream that counts and hashes what is read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> _Read:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self.size_bytes += len(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()
