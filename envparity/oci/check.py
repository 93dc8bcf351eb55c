"""
Is this image what it says it is? Every digest, size, diffID, media type and count is computed again.

It runs after every build, and it is the assertion of the tests.
"""

from __future__ import annotations

__all__ = ["CheckReport", "Problem", "check", "check_layout", "require_valid"]

from dataclasses import dataclass, field

from envparity.errors import EnvparityError, ExitStatus, IntegrityError, MalformedError, worst
from envparity.oci.entries import shown
from envparity.oci.image import Image, Layer, Place, read_blob
from envparity.oci.layout import NEST_LIMIT, Layout
from envparity.oci.places import open_image, parse_reference
from envparity.oci.spec import (
    CONFIG_LIMIT,
    CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    Config,
    Descriptor,
    Index,
    Manifest,
    parse_config,
    parse_index,
    parse_manifest,
)
from envparity.oci.table import LayerTable, layer_name, read_table
from envparity.oci.tree import Merger
from envparity.oci.unpack import CHUNK, UNPACK_LIMITS, UnpackLimits, open_blob_checked, open_layer


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `status` is `INTEGRITY` for bytes that do not match a promise, else `MALFORMED`."""

    status: ExitStatus
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at, and what is wrong with it. Nothing looked at is a problem of its own."""

    reference: str
    images: int
    blobs: int
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether something was checked, and nothing was wrong."""
        return not self.problems


def check(what: Image | str, *, limits: UnpackLimits = UNPACK_LIMITS) -> CheckReport:
    """
    Check one image, down to the last byte of its layers. A layout without a tag is checked as a whole.

    Raises:
        UsageError, UnreachableError: there is nothing to check; everything else is in the report.
    """
    if isinstance(what, str):
        reference = parse_reference(what)
        if reference.scheme == "oci" and not reference.tag and not reference.digest:
            return check_layout(reference.path, limits=limits)
        try:
            what = open_image(what)
        except (IntegrityError, MalformedError) as error:
            return CheckReport(str(reference), 0, 0, (_problem(error),))
    run = _Check(what.place, what.reference, limits)
    run.image(
        Descriptor(
            media_type=what.manifest.media_type or MANIFEST_TYPES[0],
            digest=what.digest,
            size_bytes=len(what.manifest_bytes),
        ),
        what,
    )
    return run.report()


def check_layout(folder: str, *, limits: UnpackLimits = UNPACK_LIMITS) -> CheckReport:
    """Check a layout: its version, its index, and everything that its index names, images or not."""
    place = Layout(folder)
    run = _Check(place, f"oci:{folder}", limits)
    try:
        index = place.index()
    except (IntegrityError, MalformedError) as error:
        return CheckReport(run.reference, 0, 0, (_problem(error),))
    run.index(index)
    return run.report()


def require_valid(what: Image | str, *, limits: UnpackLimits = UNPACK_LIMITS) -> CheckReport:
    """
    The report of a valid image.

    Raises:
        IntegrityError, MalformedError: it is not valid; the first kind goes first, and `details` hold every problem.
    """
    report = check(what, limits=limits)
    if report.valid:
        return report
    status = worst(*(problem.status for problem in report.problems))
    first = next(problem for problem in report.problems if problem.status is status)
    kind = IntegrityError if status is ExitStatus.INTEGRITY else MalformedError
    rest = tuple(problem.message for problem in report.problems if problem is not first)
    raise kind(first.message, details=rest, hint="build or copy the image again")


def _problem(error: EnvparityError) -> Problem:
    status = ExitStatus.INTEGRITY if isinstance(error, IntegrityError) else ExitStatus.MALFORMED
    return Problem(status, str(error))


@dataclass(slots=True)
class _Check:
    place: Place
    reference: str
    limits: UnpackLimits
    images: int = 0
    problems: list[Problem] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def report(self) -> CheckReport:
        if not self.seen and not self.problems:
            self.wrong(ExitStatus.MALFORMED, f"`{shown(self.reference)}` holds nothing that could be checked")
        return CheckReport(self.reference, self.images, len(self.seen), tuple(dict.fromkeys(self.problems)))

    def wrong(self, status: ExitStatus, message: str) -> None:
        self.problems.append(Problem(status, message))

    def index(self, index: Index, depth: int = 0) -> None:
        if depth > NEST_LIMIT:
            self.wrong(ExitStatus.MALFORMED, f"`{shown(self.reference)}` nests indexes more than {NEST_LIMIT} deep")
            return
        for descriptor in index.manifests:
            try:
                if descriptor.media_type in INDEX_TYPES:
                    data = self.document(descriptor, MANIFEST_LIMIT, "an index")
                    nested = parse_index(data, what=f"index {descriptor.digest[:19]}")
                    self.same_type(nested, descriptor)
                    self.index(nested, depth + 1)
                elif descriptor.media_type in MANIFEST_TYPES:
                    self.image(descriptor)
                else:
                    self.blob(descriptor)
            except EnvparityError as error:
                self.problems.append(_problem(error))

    def image(self, descriptor: Descriptor, opened: Image | None = None) -> None:
        """A manifest and everything that it names. An artifact has blobs and no layers."""
        try:
            data = opened.manifest_bytes if opened else self.document(descriptor, MANIFEST_LIMIT, "a manifest")
            manifest = parse_manifest(data, what=f"manifest {descriptor.digest[:19]}")
            self.same_type(manifest, descriptor)
            if manifest.config.media_type not in CONFIG_TYPES or not _is_image(manifest):
                for blob in (manifest.config, *manifest.layers):
                    self.blob(blob)
                return
            self.images += 1
            data = self.document(manifest.config, CONFIG_LIMIT, "a config")
            config = parse_config(data, what=f"config {manifest.config.digest[:19]}")
        except EnvparityError as error:
            self.problems.append(_problem(error))
            return
        name = shown(f"{self.reference}@{descriptor.digest[:19]}")
        if opened is None:
            opened = Image(self.reference, descriptor.digest, manifest, config, b"", data, self.place)
        if self.counts(manifest, config, name, descriptor):
            self.layers(opened)

    def counts(self, manifest: Manifest, config: Config, name: str, descriptor: Descriptor) -> bool:
        layers, diff_ids = len(manifest.layers), len(config.rootfs.diff_ids)
        if config.history:
            steps = sum(1 for step in config.history if not step.empty_layer)
            if steps != layers:
                self.wrong(ExitStatus.INTEGRITY, f"{name} has {layers} layers, and a history of {steps}")
        platform = descriptor.platform
        if platform and (platform.os, platform.architecture) != (config.os, config.architecture):
            self.wrong(
                ExitStatus.INTEGRITY,
                f"{name} is listed for {shown(str(platform))}, and its config says "
                f"{shown(config.os)}/{shown(config.architecture)}",
            )
        if layers != diff_ids:
            self.wrong(ExitStatus.INTEGRITY, f"{name} has {layers} layers, and its config {diff_ids} diffIDs")
        return layers == diff_ids

    def layers(self, image: Image) -> None:
        tables: list[LayerTable] = []
        layers = image.layers()
        for layer in layers:
            table = self.layer(image, layer)
            if table is not None:
                tables.append(table)
        if len(tables) < len(layers):
            return
        merger = Merger(image)
        try:
            for index, table in enumerate(tables):
                merger.apply(index, table)
        except EnvparityError as error:
            self.problems.append(_problem(error))

    def layer(self, image: Image, layer: Layer) -> LayerTable | None:
        name = layer_name(image, layer)
        try:
            with open_layer(self.place, layer.descriptor, layer.diff_id, name=name, limits=self.limits) as stream:
                table, _ = read_table(stream, layer.number - 1, name=name)
        except EnvparityError as error:
            self.problems.append(_problem(error))
            return None
        self.seen.add(layer.descriptor.digest)
        announced = _announced(layer.descriptor.media_type)
        if announced != table.codec:
            self.wrong(ExitStatus.MALFORMED, f"{name} is announced as {announced}, and compressed with {table.codec}")
        # "A layer tarball SHOULD NOT / MUST NOT contain duplicate entries for a path" (layer.md).
        for path in table.twice:
            self.wrong(ExitStatus.MALFORMED, f"{name} has `{shown(path)}` more than once")
        return table

    def document(self, descriptor: Descriptor, limit: int, what: str) -> bytes:
        data = read_blob(self.place, descriptor, limit=limit, what=f"{what} of `{shown(self.reference)}`")
        self.seen.add(descriptor.digest)
        return data

    def blob(self, descriptor: Descriptor) -> None:
        if descriptor.digest in self.seen:
            return
        with open_blob_checked(self.place, descriptor, f"`{shown(self.reference)}`") as blob:
            while blob.read(CHUNK):
                pass
        self.seen.add(descriptor.digest)

    def same_type(self, document: Manifest | Index, descriptor: Descriptor) -> None:
        if document.media_type not in (None, descriptor.media_type):
            self.wrong(
                ExitStatus.MALFORMED,
                f"{descriptor.digest} calls itself `{document.media_type}`, "
                f"and is announced as `{descriptor.media_type}`",
            )


def _is_image(manifest: Manifest) -> bool:
    """Attestations have an image's config and layers of another type."""
    return any(".layer." in layer.media_type or ".rootfs." in layer.media_type for layer in manifest.layers)


def _announced(media_type: str) -> str:
    for codec in ("gzip", "zstd"):
        if media_type.endswith((f"+{codec}", f".{codec}")):
            return codec
    return "none"
