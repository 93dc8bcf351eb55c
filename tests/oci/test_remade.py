"""A plain layer that lies nowhere: the same bytes each time, from anywhere, or none that anybody could take for it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envparity.errors import IntegrityError
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.entries import Entry
from envparity.oci.image import assemble
from envparity.oci.pack import BuiltLayer, PackedLayer, Remade, current_packer, opened, pack
from envparity.oci.registry import parse_name
from envparity.oci.remade import Skeleton
from envparity.oci.tar import write_layer
from envparity.oci.upload import Upload
from tests.oci import registry

CHANGED = IntegrityError("it changed")


def entries(folder: Path, contents: list[bytes]) -> list[Entry]:
    """A file each, one of them with a name that no plain header holds."""
    found = []
    for number, data in enumerate(contents):
        place = folder / f"{number}"
        place.write_bytes(data)
        name = f"opt/model/{'é' * 60 if number == 1 else 'weights'}-{number}"
        found.append(Entry(name, "file", 0o644, size_bytes=len(data), content=lambda place=place: place.open("rb")))
    return found


def remade(held: list[Entry]) -> tuple[PackedLayer, Remade]:
    skeleton = Skeleton()
    again = [skeleton.entry(entry) for entry in held]
    made = pack(lambda tar: write_layer(tar, again), current_packer("none"), skeleton)
    return made, skeleton.blob(made.digest, CHANGED)


def plain(held: list[Entry]) -> tuple[PackedLayer, bytes]:
    sink = io.BytesIO()
    made = pack(lambda tar: write_layer(tar, held), current_packer("none"), sink)
    return made, sink.getvalue()


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 511, 512, 513, 300_000]), max_size=4), at=st.integers(0, 400_000))
def test_it_is_what_would_have_been_written_and_can_be_read_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], at: int
) -> None:
    """An upload that broke off goes on in the middle of a file."""
    held = entries(tmp_path_factory.mktemp("law"), [bytes([65 + number]) * size for number, size in enumerate(sizes)])
    made, where = remade(held)
    wanted, data = plain(held)

    with opened(where) as whole, opened(where, at) as rest:
        assert (made, whole.read(), rest.read()) == (wanted, data, data[at:])


@pytest.mark.parametrize("keeps_time", [True, False])
def test_a_file_that_was_written_to_meanwhile_gives_no_whole_blob(tmp_path: Path, keeps_time: bool) -> None:
    """Of the same size, and perhaps with the same time: what a place then has of it, no digest can stand for."""
    held = entries(tmp_path, [b"a" * 2_000, b"b" * 300_000])
    _, where = remade(held)
    _, data = plain(held)
    before = (tmp_path / "1").stat()
    with (tmp_path / "1").open("r+b") as stream:
        stream.write(b"B")
    if keeps_time:
        os.utime(tmp_path / "1", ns=(before.st_atime_ns, before.st_mtime_ns))

    got: list[bytes] = []
    with opened(where) as stream, pytest.raises(IntegrityError, match="it changed"):
        got.extend(iter(lambda: stream.read(1 << 16), b""))
    assert sum(map(len, got)) < len(data)


def test_a_registry_that_was_sent_a_changed_one_has_neither_blob_nor_image(tmp_path: Path) -> None:
    held = entries(tmp_path, [b"a" * 3_000_000])
    made, where = remade(held)
    image = assemble([BuiltLayer(made, where, "a model")], {})
    (tmp_path / "0").write_bytes(b"b" * 3_000_000)

    with registry.serving(registry.Fake()) as fake, Client() as client:
        name = parse_name(fake.reference.removeprefix("registry:"))
        with Upload(name, Access(client)) as upload, pytest.raises(IntegrityError, match="it changed"):
            upload.finish(image)
        assert (made.digest in fake.blobs, fake.tags) == (False, {})


def test_a_file_that_is_another_one_or_gone_is_no_part_of_it(tmp_path: Path) -> None:
    held = entries(tmp_path, [b"a" * 2_000])
    _, where = remade(held)
    (tmp_path / "other").write_bytes(b"a" * 2_000)
    (tmp_path / "other").replace(tmp_path / "0")

    with pytest.raises(IntegrityError), opened(where, 700) as stream:
        stream.read()
    (tmp_path / "0").unlink()
    with pytest.raises(Exception, match="model"), opened(where) as stream:
        stream.read()
