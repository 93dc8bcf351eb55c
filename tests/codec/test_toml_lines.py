"""The line of everything in a TOML document, held against what the standard library reads of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from envparity import codec
from envparity.codec.toml_lines import at_line, lines_of
from tests.values import a_lock

TEXT = """\
# a comment [not.a.table]
title = "a # no comment" # a = 1
bare.dotted."quo.ted" = 'x = 1'
many = [ # of them
    1,
    [2, { deep = "}" , more = [
        3] }],
    # nothing
    "]",
]
long = \"\"\"
[no.table]
a = 1 \\\"\"\" ""\"\"\"
raw = '''
[[no]]
'''
when = 1979-05-27T07:32:00Z

[tool."linux/amd64"]
a = {}
[[package]]
name = "a"
[package.inner]
x = 1
[[package.wheels]]
url = "1"
[[package.wheels]]
url = "2"
[[package]]
name = "b"
wheels = [{url = "3"}]
"""


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Every path of a document, as `lines_of` writes it."""
    if isinstance(value, dict):
        for key, item in value.items():
            shown = key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'
            here = f"{path}.{shown}" if path else shown
            yield here
            yield from paths(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{path}[{index}]"
            yield from paths(item, f"{path}[{index}]")


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), codec.dump_lock(a_lock()), "", "# nothing"])
def test_whatever_the_standard_library_reads_has_a_line(text: str) -> None:
    assert sorted(lines_of(text)) == sorted(set(paths(tomllib.loads(text))))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("title", 2),
        ('bare.dotted."quo.ted"', 3),
        ("many[1][1].more[0]", 7),
        ("many[2]", 9),
        ("raw", 14),
        ("when", 17),
        ('tool."linux/amd64".a', 20),
        ("package[0].inner.x", 24),
        ("package[0].wheels[1].url", 28),
        ("package[1]", 29),
        ("package[1].wheels[0].url", 31),
        ("package[1].wheels[0].hashes.sha256", 31),
        ("package[7].name", 21),
        ("nowhere", 0),
        ("", 0),
    ],
)
def test_a_place_is_told_by_its_line_or_by_that_of_what_is_around_it(path: str, line: int) -> None:
    assert at_line(lines_of(TEXT), path) == line
