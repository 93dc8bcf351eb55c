"""Lists of packages, unpacked and taken apart piece by piece."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envparity.errors import IntegrityError, MalformedError
from envparity.resolvers import package_lists

FORMS = pytest.mark.parametrize("packed", [gzip.compress, lzma.compress])


def stanza(number: int) -> str:
    """Of a package of which there are two versions where its number ends in 7, and which provides something in 5."""
    name, said = f"lib{number // 2 if number % 10 == 7 else number}", hashlib.sha512(b"%d" % number).hexdigest()
    provides = f"Provides: virtual{number}, other (= 1)\n" if number % 10 == 5 else ""
    return f"Package: {name}\nVersion: {number}\n{provides}Description: {said}"


@FORMS
def test_a_list_of_many_pieces_says_what_it_says_as_a_whole(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    """A stanza that was lost or cut between two pieces is a package that no image can have."""
    stanzas = [stanza(number).encode() for number in range(4000)]
    text = b"\n\n".join(stanzas) + b"\n\n"
    place = tmp_path / "Packages"
    place.write_bytes(packed(text))
    assert place.stat().st_size > 5 * package_lists._BLOCK_BYTES

    found = package_lists._List.read(0, "list", place, len(text))

    whole: dict[bytes, tuple[bytes, ...]] = {}
    for each in stanzas:
        name = each.partition(b"\n")[0].removeprefix(b"Package: ")
        whole[name] = (*whole.get(name, ()), each)
    assert {name: found.of(name) for name in found.first} == whole
    assert found.of(b"lib8") == (stanzas[8], stanzas[17])
    assert found.of(b"nowhere") == ()
    assert found.provided == [
        (b"lib%d" % number, b"virtual%d, other (= 1)" % number) for number in range(4000) if number % 10 == 5
    ]


@FORMS
@pytest.mark.parametrize("said", [-1, 1])
def test_a_list_of_another_size_than_was_signed_is_refused(
    tmp_path: Path, packed: Callable[[bytes], bytes], said: int
) -> None:
    """What unpacks to more than was promised must not fill the memory before anybody counts."""
    text = "\n\n".join(map(stanza, range(3000))).encode()
    place = tmp_path / "Packages"
    place.write_bytes(packed(text))

    with pytest.raises(IntegrityError, match="does not unpack to the"):
        package_lists._List.read(0, "list", place, len(text) + said)


@FORMS
def test_a_list_that_was_cut_is_refused(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    text = "\n\n".join(map(stanza, range(3000))).encode()
    place = tmp_path / "Packages"
    place.write_bytes(packed(text)[: 3 * package_lists._BLOCK_BYTES])

    with pytest.raises(IntegrityError):
        package_lists._List.read(0, "list", place, len(text))


def test_a_list_that_was_damaged_is_refused(tmp_path: Path) -> None:
    text = "\n\n".join(map(stanza, range(3000))).encode()
    data = bytearray(gzip.compress(text))
    data[len(data) // 2] ^= 0xFF
    place = tmp_path / "Packages"
    place.write_bytes(data)

    with pytest.raises((IntegrityError, MalformedError)):
        package_lists._List.read(0, "list", place, len(text))


@given(st.lists(st.lists(st.sampled_from([b"\n", b"\n\n", b"a"])).map(b"".join)))
def test_wherever_a_text_is_cut_its_stanzas_are_the_same(pieces: list[bytes]) -> None:
    assert list(package_lists._stanzas(pieces)) == b"".join(pieces).split(b"\n\n")
