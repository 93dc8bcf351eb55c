"""A RECORD that is read quickly says what one that is read row by row says."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from envparity.collectors.records import Record, import_names, normalised_record, record_rows

_PARTS = st.sampled_from(
    ["numpy", "google", "a b", "x,y", 'q"', "..", ".", "", "x-1.dist-info", "x-1.data", "purelib", "scripts", "sub"]
)
_FILES = st.sampled_from(
    ["__init__.py", "m.py", "m.pyc", "m.cpython-311-x86_64-linux-gnu.so", "libx.so", "RECORD", "METADATA", "x.pth", ""]
)
_PATHS = st.builds(lambda parts, name: "/".join([*parts, name]), st.lists(_PARTS, max_size=3), _FILES)
_HASHES = st.sampled_from(["sha256=AAA", "", "md5=x", "a.pyc", "sha256=a/b"])
_SIZES = st.sampled_from(["", "0", "12", "300", "x", "300000"])
_LINES = st.one_of(
    st.builds("{},{},{}".format, _PATHS, _HASHES, _SIZES),
    st.builds('"{}",{},{}'.format, _PATHS.filter(lambda path: '"' not in path), _HASHES, _SIZES),
    st.text(alphabet="ab,/.\r", max_size=12),
)


@given(st.lists(_LINES, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_the_quick_reading_of_a_record_gives_the_digest_and_the_names_of_the_slow_one(
    lines: list[str], ending: str
) -> None:
    """The digest is what proves a wheel: one that depends on how it was read proves nothing."""
    text = ending.join(lines)
    try:
        rows = record_rows(text)
    except ValueError:
        return

    record = Record(text)

    assert record.digest() == hashlib.sha256(normalised_record(text)).hexdigest()
    assert record.import_names() == import_names(rows)
