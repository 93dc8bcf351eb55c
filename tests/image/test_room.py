"""Whether the disk has room for what a build fetches and makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from envparity.errors import DiskFullError
from envparity.image.room import check_room, forecast
from envparity.values import LockedWheel
from tests.image.test_preflight import lock


def test_a_build_that_its_disk_has_no_room_for_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    """Else it ends after minutes of download, and leaves the disk full for everybody."""
    with pytest.raises(
        DiskFullError, match=r"would fetch 700 MB and make layers of about 900 MB.* has 1,000 MB"
    ) as caught:
        check_room(700_000_000, 900_000_000, tmp_path / "not" / "yet", free_bytes=1_000_000_000)

    assert caught.value.status == 3
    assert "envparity cache prune" in caught.value.hint
    check_room(100, 100, tmp_path / "not" / "yet")


def test_only_what_is_still_to_be_made_counts_and_only_what_is_not_here_is_fetched() -> None:
    plain = lock()
    wheel = LockedWheel(name="demo-1.0-py3-none-any.whl", url="https://host/w", size_bytes=1000, sha256="b" * 64)
    locked = replace(plain, distributions=(replace(plain.distributions[0], wheels=(wheel,)),))
    (target,) = locked.targets

    assert forecast(locked, target, {"b" * 64}, lambda sha256: None) == (1000, 1000)
    assert forecast(locked, target, {"b" * 64}, lambda sha256: Path("here")) == (0, 1000)
    assert forecast(locked, target, {"c" * 64}, lambda sha256: None) == (0, 0)
    assert forecast(replace(locked, bytecode="unchecked-hash"), target, {"b" * 64}, lambda sha256: None)[1] > 1000
