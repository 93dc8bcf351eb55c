"""The scalars that are found are those that `json` finds, however the document is cut into pieces."""

import json

import pytest


def scanned(data, size=7, **options):
    from envparity.collectors.formats.found import Found
    from envparity.collectors.formats.scanning import scan_json

    return list(scan_json((data[at : at + size] for at in range(0, len(data), size)), Found(), **options))


def flat(value, path=()):
    if isinstance(value, dict):
        return [item for key, inner in value.items() for item in flat(inner, (*path, key))]
    if isinstance(value, list):
        return [item for index, inner in enumerate(value) for item in flat(inner, (*path, index))]
    return [(path, value)]


DOCUMENT = {
    "text": 'a "quoted" \\ \u00e9 \U0001f600',
    "numbers": [1, -2, 3.5, 1e300],
    "nested": [[1, 2], {"a": [None, True, False, "x", {"deep": []}]}],
    "empty": {},
    "": "",
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 1])
def test_every_scalar_is_found_with_its_path(size, ascii_only, indent):
    data = json.dumps(DOCUMENT, ensure_ascii=ascii_only, indent=indent).encode()

    assert scanned(data, size) == flat(DOCUMENT)


def test_of_a_long_list_of_numbers_the_first_few_come():
    data = json.dumps({"a": list(range(100_000)), "b": 1}).encode()
    found = scanned(data, 1000)

    assert found[:8] == [(("a", index), index) for index in range(8)]
    assert found[-1] == (("b",), 1)
    assert len(found) < 2000


def test_a_text_without_end_is_passed_over():
    from envparity.collectors.formats.found import Found
    from envparity.collectors.formats.scanning import scan_json

    text = b'x\\"\\\\' * (1 << 20)
    pieces = (b'{"a": "', *(text[at : at + 65536] for at in range(0, len(text), 65536)), b'", "b": 1}')

    assert list(scan_json(pieces, Found())) == [(("a",), ""), (("b",), 1)]


def test_what_is_not_asked_for_is_passed_over():
    data = b'{"a": {"b": {"c": 1}, "e": [1, [2, "]"], {"f": "}"}]}, "d": 2}'

    for size in (1, 5, 100):
        assert scanned(data, size, into=lambda path: len(path) < 1) == [(("d",), 2)]
        assert scanned(data, size, into=lambda path: path != ("a", "e")) == [(("a", "b", "c"), 1), (("d",), 2)]


@pytest.mark.parametrize("data", [b'{"a": {', b'{"a": {]}', b'{"a": [' + b"[" * 2000, b'{"a": ["x}'])
def test_damage_in_what_is_passed_over_is_seen(data):
    from envparity.collectors.formats.found import Unreadable

    with pytest.raises(Unreadable):
        scanned(data, 1000, into=lambda path: not path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is cut short"),
        (b'{"a": 1', "it is cut short"),
        (b'{"a": "x', "it is cut short"),
        (b'{"a": 1]', "its brackets do not match"),
        (b"{} {}", "bytes follow its end"),
        (b"{1: 2}", "it is not JSON"),
        (b'{"a": wrong}', "it is not JSON"),
        (b'{"a": "\xff"}', "a text in it is not valid"),
        (b'{"a": "\\x"}', "a text in it is not valid"),
        (b"[" * 2000, "it is nested too deep"),
        (b"x" * 3_000_000, "it is not JSON"),
    ],
)
def test_what_is_no_json_says_so(data, reason):
    from envparity.collectors.formats.found import Unreadable

    with pytest.raises(Unreadable) as caught:
        scanned(data, 1 << 16)

    assert str(caught.value) == reason


def test_values_without_end_break_a_limit():
    from envparity.collectors.formats.found import Found, Limits, Unreadable
    from envparity.collectors.formats.scanning import scan_json

    with pytest.raises(Unreadable, match="more than 100 values"):
        list(scan_json([b"[" + b"{}," * 1000], Found(Limits(values=100))))


def ubjson(data):
    from envparity.collectors.formats.found import Found
    from envparity.collectors.formats.scanning import scan_ubjson
    from envparity.collectors.formats.streams import Stream

    return list(scan_ubjson(Stream([data], 1 << 20), Found()))


def test_ubjson_is_read_in_all_its_forms():
    assert ubjson(b"{i\x01aSi\x01xi\x01bU\xffi\x01c[TFZNi\xfe]}") == [
        (("a",), "x"),
        (("b",), 255),
        (("c", 0), True),
        (("c", 1), False),
        (("c", 2), None),
        (("c", 3), -2),
    ]
    assert ubjson(b"[$i#i\x0a" + bytes(range(10))) == [((index,), index) for index in range(8)]
    assert ubjson(b"{#i\x01i\x01aI\x01\x00") == [(("a",), 256)]
    assert ubjson(b"[$S#i\x02i\x01ai\x01b") == [((0,), "a"), ((1,), "b")]
    assert ubjson(b"[$Z#l\x7f\xff\xff\xff") == []
    assert ubjson(b"[[$i#i\0{}[]i\x05]") == [((3,), 5)]


@pytest.mark.parametrize(
    "data", [b"{", b"[i", b"Q", b"[$i", b"[$i#S", b"{Si", b"[" * 2000, b"{l\xff\xff\xff\xff", b"{#"]
)
def test_what_is_no_ubjson_says_so(data):
    from envparity.collectors.formats.found import Unreadable

    with pytest.raises(Unreadable):
        ubjson(data)
