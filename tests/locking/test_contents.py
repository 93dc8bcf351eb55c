"""What a wheel says of itself, told without fetching it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.errors import IntegrityError
from envparity.fetch import Fetcher
from envparity.locking import contents
from envparity.network import Client
from envparity.values import LockedDistribution, LockedWheel
from tests.serving import Answer, Ranged, plain, serving
from tests.wheels import pack

METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: six>=1\nRequires-Dist: web; extra == 'x'\n"
NAME = "demo-1.0-py3-none-any.whl"


@dataclass
class There:
    """A wheel on a server, with its METADATA beside it."""

    item: LockedDistribution
    file: Path
    served: Ranged
    answers: dict[str, list[Answer]]
    fetcher: Fetcher

    def told(self, sha256: str = hashlib.sha256(METADATA).hexdigest()) -> contents.Inside | None:
        return contents.inside_from_afar(self.fetcher, self.item, sha256)


@contextmanager
def there(folder: Path, *, name: str = NAME, size: int = 400_000, metadata: bytes = METADATA) -> Iterator[There]:
    data = {"demo/__init__.py": b"", "demo/data.bin": os.urandom(size), "demo-1.0.dist-info/METADATA": METADATA}
    file = pack(folder, data, file_name=name)
    served = Ranged(file.read_bytes())
    answers: dict[str, list[Answer]] = {f"/{name}": [served], f"/{name}.metadata": [plain(metadata)]}
    with serving(answers) as server, Client(attempts=1) as client:
        wheel = LockedWheel(
            name=name,
            url=f"{server.url}/{name}",
            size_bytes=len(served.data),
            sha256=hashlib.sha256(served.data).hexdigest(),
        )
        item = LockedDistribution(name="demo", version="1.0", wheels=(wheel,), state="declared")
        yield There(item, file, served, answers, Fetcher(client, Cache(folder / "cache")))


def test_metadata_and_record_say_from_afar_what_the_wheel_says(tmp_path: Path) -> None:
    """A lock of two hundred pins fetched two hundred wheels, to read a page of each."""
    with there(tmp_path) as wheel:
        found = wheel.told()
        again = wheel.told()

        assert found == again == contents.Inside(("demo",), ("six>=1", "web; extra == 'x'"))
        assert wheel.served.wholes == 0
        assert sum(int(part[6:].split("-")[1]) - int(part[6:].split("-")[0]) for part in wheel.served.parts) < 70_000
        assert len(wheel.served.parts) == 1
        assert contents.inside(wheel.fetcher, wheel.item, wheel.file) == found


def test_metadata_that_is_not_what_the_page_promises_is_an_integrity_error(tmp_path: Path) -> None:
    """Whoever changes it chooses what is installed beside."""
    with (
        there(tmp_path, metadata=METADATA + b"Requires-Dist: evil\n") as wheel,
        pytest.raises(IntegrityError, match=r"METADATA of demo-1\.0-py3-none-any\.whl"),
    ):
        wheel.told()


def test_a_record_that_says_something_else_of_the_metadata_is_not_believed(tmp_path: Path) -> None:
    """Page, METADATA and wheel must agree; where they do not, only the whole wheel is believed."""
    other = METADATA + b"Requires-Dist: evil\n"
    with there(tmp_path, metadata=other) as wheel:
        assert wheel.told(hashlib.sha256(other).hexdigest()) is None


@pytest.mark.parametrize("fault", ["ignored", "refused", "cut", "other bytes"])
def test_a_server_without_ranges_has_the_wheel_read_whole(fault: str, tmp_path: Path) -> None:
    with there(tmp_path) as wheel:
        wheel.served.fault = fault
        assert wheel.told() is None


def test_metadata_that_is_promised_and_not_there_has_the_wheel_read_whole(tmp_path: Path) -> None:
    """Some mirrors copy the page, and not what lies beside the files."""
    with there(tmp_path) as wheel:
        wheel.answers[f"/{NAME}.metadata"] = [plain(b"gone", 404)]
        assert wheel.told() is None


def test_nothing_is_asked_where_it_would_spare_nothing(tmp_path: Path) -> None:
    """Small wheels, native ones (their files are read anyway), those without METADATA beside, and those at hand."""
    for name, size in ((NAME, 1000), ("demo-1.0-cp311-cp311-linux_x86_64.whl", 400_000)):
        with there(tmp_path, name=name, size=size) as wheel:
            assert wheel.told() is None
            assert wheel.served.parts == []
    with there(tmp_path) as wheel:
        assert wheel.told("") is None
        data = wheel.served.data
        wheel.fetcher.cache.adopt([data], sha256=wheel.item.wheel.sha256, size_bytes=len(data), what="it")
        assert wheel.told() is None
        assert wheel.served.parts == []
    assert zipfile.is_zipfile(tmp_path / NAME)
