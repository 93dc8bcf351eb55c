"""What is learned of a layer while it is written is what anybody reads in it afterwards, or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from typing import BinaryIO

from hypothesis import given
from hypothesis import strategies as st

from envparity.oci.entries import Entry
from envparity.oci.image import Layer
from envparity.oci.pack import PackedLayer, current_packer, pack
from envparity.oci.recorded import Reading, Recorded
from envparity.oci.table import KEEP_FILE_BYTES, Found, read_table
from envparity.oci.tar import write_layer
from envparity.oci.unpack import open_layer
from tests.image.deflated import deflated


class Forgetful:
    """A memory of nothing."""

    def recall(self, layer: Layer) -> Found | None:
        return None

    def learn(self, layer: Layer, found: Found) -> None:
        raise AssertionError("nothing is learned here")


READING = Reading(Forgetful(), lambda path: "keep" in path, lambda path: "hash" in path)


class Held:
    """A place that holds one blob."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def open_blob(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.blob)


def made(entries: list[Entry], folders: Mapping[str, Entry] | None = None) -> tuple[Found | None, PackedLayer, bytes]:
    """What was learned of a layer, and the layer."""
    learned: list[Found | None] = []
    sink = io.BytesIO()

    def write(tar: BinaryIO) -> None:
        recorded = Recorded(tar, READING)  # type: ignore[arg-type]
        write_layer(recorded, entries, folders=folders)
        learned.append(recorded.found("gzip"))

    packed = pack(write, current_packer(), sink)
    return learned[0], packed, sink.getvalue()


def read(packed: PackedLayer, blob: bytes) -> Found:
    with open_layer(Held(blob), packed.descriptor, packed.diff_id) as stream:
        return read_table(stream, 0, name="it", keep=READING.keep, take=lambda size: True, hashed=READING.hashed)


parts = st.sampled_from(["a", "keep", "hash", "é", "n" * 90, "long" * 30])
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
contents = st.binary(max_size=1500) | st.integers(60_000, 70_000).map(lambda size: b"ab" * (size // 2))


@given(st.dictionaries(paths, st.tuples(st.sampled_from(["file", "deflated", "folder", "link"]), contents), max_size=7))
def test_what_is_learned_while_a_layer_is_written_is_what_is_read_in_it(wanted: dict[str, tuple[str, bytes]]) -> None:
    """The look at an image believes it: a header that says something else must not go by unseen."""
    entries = []
    for path, (kind, data) in wanted.items():
        if any(other.startswith(path + "/") for other in wanted):
            continue
        if kind == "folder":
            entries.append(Entry(path, "folder", 0o755))
        elif kind == "link":
            entries.append(Entry(path, "link", 0o777, target="somewhere"))
        else:
            content = deflated(data) if kind == "deflated" else data
            entries.append(Entry(path, "file", 0o640, 7, 8, size_bytes=len(data), content=content))

    learned, packed, blob = made(entries, {"keep": Entry("keep", "folder", 0o700)})

    assert learned == read(packed, blob)


def test_a_digest_that_is_told_is_learned_and_none_where_it_is_not() -> None:
    """Whoever reads a file hashes it; gigabytes are not hashed once more, and nothing is made up."""
    data = b"weights" * 90_000
    entry = Entry("hash/weights", "file", 0o644, size_bytes=len(data), content=data)
    told = {"hash/weights": hashlib.sha256(data).hexdigest()}
    found = []
    for said in (told, {}):
        recorded = Recorded(io.BytesIO(), READING, said)  # type: ignore[arg-type]
        write_layer(recorded, [entry])
        found.append(recorded.found("none"))

    assert found[0] is not None
    assert {node.path: node.sha256 for node in found[0][0].nodes if node.kind == "file"} == {
        "/hash/weights": told["hash/weights"]
    }
    assert found[1] is None


def test_of_a_content_of_any_size_the_digest_is_learned_and_of_nothing_else_that_is_not_kept() -> None:
    """A model has gigabytes, of which nobody wants to hold or read more than it takes."""
    size = KEEP_FILE_BYTES + 1
    large = Entry("hash", "file", 0o644, size_bytes=size, content=lambda: io.BytesIO(bytes(size)))
    learned, packed, blob = made([large])

    assert learned == read(packed, blob)
    assert learned is not None
    assert learned[0].nodes[0].sha256 == hashlib.sha256(bytes(size)).hexdigest()
    other = made([dataclasses.replace(large, path="other")])[0]
    assert other is not None
    assert not other[0].nodes[0].sha256
    long = dataclasses.replace(large, path=f"{'n' * 200}/hash", size_bytes=2 * size)
    assert made([dataclasses.replace(long, content=lambda: io.BytesIO(bytes(2 * size)))])[0] is None
