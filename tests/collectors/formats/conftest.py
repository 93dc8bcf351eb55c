"""Files that real libraries wrote (tests/data/models/formats/make.py says how), and one way to look at bytes."""

import io
from pathlib import Path

import pytest

MADE = Path(__file__).resolve().parents[2] / "data" / "models" / "formats"


class Seen:
    """An artifact with its lists as sets, and its gaps by kind."""

    def __init__(self, facts):
        self.fact, *gaps = facts
        self.form = self.fact["format"]
        self.modules = set(self.fact["modules"])
        self.classes = set(self.fact["classes"])
        self.versions = dict(self.fact["versions"])
        self.properties = dict(self.fact["properties"])
        self.unread = [gap["reason"] for gap in gaps if gap["gap"] == "unread"]
        self.not_recorded = [gap["reason"] for gap in gaps if gap["gap"] == "not-recorded"]


@pytest.fixture
def made():
    """A function from the name of a recorded file to its bytes."""
    return lambda name: (MADE / name).read_bytes()


@pytest.fixture
def seen():
    """A function that looks at bytes under a name."""

    def look(data, name="model", **limits):
        from envparity.collectors.models import Limits, model

        return Seen(model(io.BytesIO(data), name, limits=Limits(**limits)))

    return look


@pytest.fixture
def pipe():
    """A function that makes of bytes a stream that cannot be sought, as a layer of an image gives it."""

    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.inner.readinto(memoryview(buffer)[:4097])

    return Pipe
