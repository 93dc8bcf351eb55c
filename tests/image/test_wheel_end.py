"""RECORD read from the end of a wheel on a server: the same as from the whole, or no answer at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envparity.errors import MalformedError
from envparity.image import wheel_end, wheels, zips
from envparity.network import Client
from envparity.resolvers.index import find_wheels
from envparity.values import Distribution, LockedDistribution, LockedWheel
from tests.serving import FAULTS, Ranged, plain, serving
from tests.wheels import pack, real_wheel

NAME = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(timeout_s=10.0) as opened:
        yield opened


def noise(size: int) -> bytes:
    """Bytes that do not shrink, so that the wheel is as large as what it holds."""
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of which the end is the smallest part."""
    return pack(tmp_path_factory.mktemp("large"), {"demo/__init__.py": b"", "demo/weights.bin": noise(500_000)})


def asked(client: Client, served: Ranged, size: int | None = None) -> str | None:
    with serving({f"/{NAME}": [served]}) as place:
        wheel = LockedWheel(
            name=NAME,
            url=f"{place.url}/{NAME}",
            size_bytes=len(served.data) if size is None else size,
            sha256=hashlib.sha256(served.data).hexdigest(),
        )
        return wheel_end.record_sha256(wheel, client=client)


def bytes_asked(served: Ranged) -> int:
    spans = (part.removeprefix("bytes=").split("-") for part in served.parts)
    return sum(int(end) - int(start) + 1 for start, end in spans)


def test_one_question_for_the_end_is_enough(client: Client, large: Path) -> None:
    served = Ranged(large.read_bytes())

    assert asked(client, served) == wheels.record_sha256(large)
    assert len(served.parts) == 1
    assert bytes_asked(served) == 64 << 10


def test_a_redirect_leads_to_the_same_part(client: Client, large: Path) -> None:
    """Many indexes hand out addresses of a store."""
    served = Ranged(large.read_bytes())
    with serving({f"/{NAME}": [plain(b"", 302, location="/store")], "/store": [served]}) as place:
        wheel = LockedWheel(name=NAME, url=f"{place.url}/{NAME}", size_bytes=len(served.data), sha256="0" * 64)
        found = wheel_end.record_sha256(wheel, client=client)

    assert found == wheels.record_sha256(large)
    assert bytes_asked(served) == 64 << 10


def test_a_small_wheel_is_read_whole_by_one_question(client: Client, tmp_path: Path) -> None:
    wheel = pack(tmp_path, {"demo/__init__.py": b"answer = 42\n"})
    served = Ranged(wheel.read_bytes())

    assert asked(client, served) == wheels.record_sha256(wheel)
    assert served.parts == [f"bytes=0-{wheel.stat().st_size - 1}"]


def test_a_directory_that_begins_earlier_takes_a_second_question(client: Client, tmp_path: Path) -> None:
    """TensorFlow has ten thousand files: its directory alone has a megabyte."""
    files = {f"demo/module_{number}_{noise(30).hex()}.py": b"%d" % number for number in range(3000)}
    wheel = pack(tmp_path, {"demo/weights.bin": noise(3_000_000), **files})
    served = Ranged(wheel.read_bytes())

    assert asked(client, served) == wheels.record_sha256(wheel)
    assert len(served.parts) == 2
    assert bytes_asked(served) < 1_500_000


def test_a_record_at_the_beginning_is_asked_for_by_itself(client: Client, tmp_path: Path) -> None:
    """No rule says that RECORD lies last, and nobody should fetch all that lies behind it."""
    made = pack(tmp_path, {"demo/weights.bin": noise(500_000)})
    turned = tmp_path / "turned" / NAME
    turned.parent.mkdir()
    with zipfile.ZipFile(made) as before, zipfile.ZipFile(turned, "w", zipfile.ZIP_DEFLATED) as after:
        for member in reversed(before.infolist()):
            after.writestr(member, before.read(member))
    served = Ranged(turned.read_bytes())

    assert asked(client, served) == wheels.record_sha256(turned) == wheels.record_sha256(made)
    assert len(served.parts) == 2
    assert bytes_asked(served) < 70_000


def test_a_zip64_end_is_followed(client: Client, large: Path, tmp_path: Path) -> None:
    data = large.read_bytes()
    *_, total, length, start, _ = struct.unpack("<4s4H2LH", data[-22:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, total, total, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / NAME).write_bytes(data[:-22] + record + locator + end)
    served = Ranged((tmp_path / NAME).read_bytes())

    assert asked(client, served) == wheels.record_sha256(tmp_path / NAME) == wheels.record_sha256(large)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_not_what_was_asked_for_proves_nothing(client: Client, large: Path, fault: str) -> None:
    """A proxy that gets ranges wrong must neither prove a wheel nor refuse one."""
    assert asked(client, Ranged(large.read_bytes(), fault)) is None


def test_a_file_of_another_size_than_the_index_says_proves_nothing(client: Client, large: Path) -> None:
    """It was replaced under its name."""
    data = large.read_bytes()

    assert asked(client, Ranged(data), len(data) - 1) is None
    assert asked(client, Ranged(data), len(data) + 1) is None
    assert asked(client, Ranged(data), 0) is None


def test_parts_of_two_files_are_not_put_together(client: Client, tmp_path: Path) -> None:
    """The file was replaced between two questions, or two servers of one name hold different ones."""
    files = {f"demo/module_{number}.py": b"%d" % number for number in range(3000)}
    data = pack(tmp_path, files).read_bytes()

    assert asked(client, Ranged(data, etags=('"one"', '"two"'))) is None
    assert asked(client, Ranged(data, etags=('"one"', '"one"'))) is not None


def test_a_body_that_was_not_asked_for_is_not_read(client: Client) -> None:
    """A server without ranges sends gigabytes, and the whole wheel may be in the cache already."""
    sent = []

    def endless(request) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while len(sent) < 2000:
                request.wfile.write(bytes(1 << 20))
                sent.append(1)
        except OSError:
            pass

    with serving({f"/{NAME}": [endless]}) as place:
        assert client.part(f"{place.url}/{NAME}", 0, 10, size=1 << 40) is None

    assert len(sent) < 200


def test_a_server_that_is_gone_proves_nothing(client: Client, large: Path) -> None:
    """What cannot be had is told by whoever asks for the whole, all of it at once."""
    with serving({}) as place:
        wheel = LockedWheel(name=NAME, url=f"{place.url}/{NAME}", size_bytes=9_000, sha256="0" * 64)
        assert wheel_end.record_sha256(wheel, client=client) is None


@pytest.mark.parametrize(
    "damage", ["comment", "twice", "no record", "crc", "size", "not a zip", "two directories", "gap"]
)
def test_an_archive_that_can_be_read_in_two_ways_proves_nothing(client: Client, tmp_path: Path, damage: str) -> None:
    record = "demo-1.0.dist-info/RECORD"
    other = [("other-1.0.dist-info/RECORD", b"x,,\n")] if damage == "twice" else []
    data = bytearray(pack(tmp_path, {"demo/__init__.py": noise(100_000)}, extra=other).read_bytes())
    directory = data.rindex(record.encode()) - 46
    if damage == "comment":
        data[-2:] = b"\x05\x00"
        data += b"hello"
    elif damage == "no record":
        data = bytearray(bytes(data).replace(record.encode(), b"demo-1.0.dist-info/RECORDS"[:25][::-1]))
    elif damage == "crc":
        data[directory + 16] ^= 1
    elif damage == "size":
        data[directory + 24] ^= 1
    elif damage == "not a zip":
        data = bytearray(noise(100_000))
    elif damage == "gap":
        *_, start, _ = struct.unpack("<4s4H2LH", data[-22:])
        data[start:start] = b"hidden"
        data[-6:-2] = struct.pack("<L", start + len(b"hidden"))
    elif damage == "two directories":
        data[-6:-2] = struct.pack("<L", 0)

    assert asked(client, Ranged(bytes(data))) is None


def test_no_byte_that_flips_makes_another_record(tmp_path: Path) -> None:
    """A line that damages what it carries may hide a wheel, and must not forge one."""
    data = pack(tmp_path, {"demo/__init__.py": b"answer = 42\n"}).read_bytes()
    record = zips.read_one(io.BytesIO(data), wheels.RECORD, NAME)
    found = set()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1
        with contextlib.suppress(MalformedError):
            found.add(zips.read_one(io.BytesIO(flipped), wheels.RECORD, NAME))

    assert found == {record}, "the bytes of other members are not looked at, so some do not matter"


@pytest.mark.parametrize("cut", [1, 21, 22, 100, 10_000])
def test_a_wheel_that_is_cut_short_proves_nothing(client: Client, large: Path, cut: int) -> None:
    assert asked(client, Ranged(large.read_bytes()[:-cut])) is None


def test_many_are_asked_for_at_once_and_answered_in_order(client: Client, tmp_path: Path) -> None:
    made = [pack(tmp_path, {f"demo/{number}.py": b"%d" % number}, file_name=f"demo{number}-1.0-py3-none-any.whl")
            for number in range(40)]  # fmt: skip
    with serving({f"/{path.name}": [Ranged(path.read_bytes())] for path in made}) as place:
        locked = [
            LockedWheel(name=path.name, url=f"{place.url}/{path.name}", size_bytes=path.stat().st_size, sha256="0" * 64)
            for path in made
        ]
        found = wheel_end.record_sha256s(locked, client=client)

    assert list(found) == [wheels.record_sha256(path) for path in made]
    assert len(set(found)) == 40


def test_a_wheel_of_the_public_index_is_proven_without_being_downloaded(client: Client) -> None:
    joblib = Distribution(name="joblib", version="1.4.2", wheel_tags=("py3-none-any",))
    (found,) = find_wheels([joblib], client=client, python_version="3.11.7")
    assert isinstance(found, LockedDistribution)

    assert wheel_end.record_sha256(found.wheel, client=client) == wheels.record_sha256(real_wheel("joblib", "1.4.2"))
