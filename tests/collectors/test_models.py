"""What a model file needs is read from its opcodes. tests/data/models/make.py says how the recorded files were made."""

import bz2
import collections
import gzip
import hashlib
import io
import json
import pickle
import zlib
from pathlib import Path

import pytest

from envparity.collectors.models import Limits, model

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"
EXPECTED = json.loads((MODELS / "expected.json").read_text())


def read(data, name="model.pkl", **limits):
    """The artifact and the gaps of some bytes."""
    fact, *gaps = model(io.BytesIO(data), name, limits=Limits(**limits))
    return fact, [(gap["gap"], gap["reason"]) for gap in gaps]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recorded_model_refers_to_what_pickle_looked_up_when_it_was_loaded(name):
    fact, *gaps = model(str(MODELS / name), name)

    assert fact["classes"] == EXPECTED[name]
    assert not [gap for gap in gaps if gap["gap"] == "unread"]
    assert fact["sha256"] == hashlib.sha256((MODELS / name).read_bytes()).hexdigest()
    assert fact["size_bytes"] == (MODELS / name).stat().st_size


def test_what_a_model_needs_is_the_same_where_its_digest_is_not_wanted():
    """A build reads a model of gigabytes while it packs it, and once."""
    for path in sorted(MODELS.rglob("*.*")):
        hashed = [*model(str(path), path.name)]
        plain = [*model(str(path), path.name, limits=Limits(hashed=False))]
        assert [{**fact, "sha256": ""} for fact in plain] == [{**fact, "sha256": ""} for fact in hashed], path


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("text.protocol4.pkl", "pickle"),
        ("text.protocol0.joblib", "joblib"),
        ("text.zlib.joblib", "joblib+zlib"),
        ("text.gzip.joblib", "joblib+gzip"),
        ("text.bz2.joblib", "joblib+bz2"),
        ("text.xz.joblib", "joblib+xz"),
        ("text.lzma.joblib", "joblib+lzma"),
    ],
)
def test_the_format_and_the_release_that_wrote_it_are_read_through_any_compression(name, form):
    fact, *gaps = model(str(MODELS / name), name)

    assert (fact["format"], fact["versions"], gaps) == (form, [["scikit-learn", "1.4.2"]], [])
    assert "sklearn.feature_extraction.text" in fact["modules"]


def test_a_class_of_the_training_script_is_seen_as_main():
    """The most common reason for which serving fails: the class lives in the script that trained the model."""
    fact, *_ = model(str(MODELS / "main.pkl"), "main.pkl")

    assert fact["modules"] == ["__main__"]
    assert fact["classes"] == ["__main__:Mine"]


def test_what_cloudpickle_carries_by_value_imports_is_read_as_far_as_it_is_written_down():
    fact, gap = model(str(MODELS / "by-value.pkl"), "by-value.pkl")

    assert "numpy" in fact["modules"]
    assert "__main__" not in fact["modules"]
    assert (gap["gap"], gap["reason"][:25]) == ("not-recorded", "it carries code by value:")


CUT = ("text.protocol4.joblib", "text.protocol0.pkl", "arrays.protocol2.joblib", "text.gzip.joblib", "text.bz2.joblib",
       "text.xz.joblib", "text.lzma.joblib", "text.zlib.joblib")  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_model_cut_anywhere_is_unread_and_never_a_shorter_list_passed_off_as_whole(name):
    data = (MODELS / name).read_bytes()
    for length in range(0, len(data), max(1, len(data) // 120)):
        _, gaps = read(data[:length], name)
        assert "unread" in [kind for kind, _ in gaps], length


def test_bytes_after_the_end_are_unread():
    assert read(pickle.dumps({}) + b"more")[1] == [("unread", "bytes follow its end")]


class Evil:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("protocol", range(5))
def test_a_hostile_pickle_is_read_and_never_executed(protocol, capfd):
    fact, _ = read(pickle.dumps(Evil(), protocol))

    assert fact["classes"] == ["builtins:print"]
    assert capfd.readouterr() == ("", "")


def test_names_that_lie_in_the_memo_are_found():
    """protocol 4: the module's name once, then by BINGET for each further class."""
    data = b"\x80\x04" + b"\x8c\x05first\x94\x8c\x01A\x94\x93" + b"h\x00\x8c\x01B\x93" + b"\x86."

    assert read(data)[0]["classes"] == ["first:A", "first:B"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"\x80\x63.", "pickle protocol 99 is not known"),
        (b"\x80\x04h\x09.", "it refers to a value that it does not hold"),
        (b"\x80\x04.", "it takes a value from an empty stack"),
        (b"\x80\x04(0\x94.", "it takes a value from an empty stack"),
        (b"\x80\x04t.", "it has no mark where one is needed"),
        (b"\x80\x04K\x01K\x02\x93.", "it computes a name that it refers to"),
        (b"\x80\x02\x82\x01.", "it refers to names by a registry that is not in the file"),
        (b"\x80\x02T\xff\xff\xff\xff.", "a length in it is negative"),
        (b"\x80\x04\xff.", "0xff is no pickle opcode"),
        (b"\x80\x04c" + b"a" * 2000 + b"\nb\n.", "a name that it refers to is longer than 1024 letters"),
    ],
)
def test_a_damaged_pickle_is_unread_and_says_why(data, reason):
    assert read(data)[1] == [("unread", reason)]


def test_a_length_of_many_gigabytes_takes_no_memory():
    _, gaps = read(b"\x80\x05\x8e" + (1 << 62).to_bytes(8, "little") + b"x")

    assert gaps == [("unread", "it is cut short, after 12 bytes")]


def test_a_stack_or_a_memo_without_end_breaks_a_limit():
    reason = "it is larger than the limits of the walk allow"

    assert read(b"\x80\x04" + b"N" * 2000 + b".", stack=1000)[1] == [("unread", reason)]
    assert read(b"\x80\x04N" + b"\x94" * 2000 + b".", memo=1000)[1] == [("unread", reason)]
    assert read(b"\x80\x04N" + b"0N" * 2000 + b".", opcodes=1000)[1] == [("unread", reason)]


def test_a_bomb_is_stopped_at_a_limit():
    inside = b"\x80\x05\x8e" + (1 << 40).to_bytes(8, "little") + b"\0" * (32 << 20)
    for packed in (zlib.compress(inside), gzip.compress(inside, mtime=0), bz2.compress(inside)):
        assert read(packed, unpacked_bytes=8 << 20)[1] == [("unread", f"it unfolds to more than {8 << 20} bytes")]


def test_an_array_whose_size_is_not_known_ends_the_walk_unread():
    wrapper = b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}X\x05\x00\x00\x00shapeK\x03\x85sb."

    assert read(wrapper)[1] == [("unread", "it holds an array whose size cannot be told")]


def test_the_names_of_python_2_are_those_that_pickle_translates_them_to():
    assert read(b"c__builtin__\nset\n.")[0]["classes"] == ["builtins:set"]
    assert read(b"\x80\x02ccopy_reg\n_reconstructor\n.")[0]["classes"] == ["copyreg:_reconstructor"]


def test_a_long_line_in_protocol_0_is_stepped_over():
    data = pickle.dumps(["x" * 300_000, collections.OrderedDict], protocol=0)

    assert read(data)[0]["classes"] == ["collections:OrderedDict"]
    assert read(data)[1] == []


def test_a_pickle_called_safetensors_is_read_as_a_pickle():
    fact, gaps = read(pickle.dumps(Evil(), 4), "weights.safetensors")

    assert (fact["format"], fact["classes"], gaps) == ("pickle", ["builtins:print"], [])


def test_a_file_of_no_known_format_says_so():
    fact, gaps = read(b"hello world", "weights.dat")

    assert (fact["format"], fact["classes"]) == ("unknown", [])
    assert gaps == [("not-recorded", "its format is not known: what it needs is not read")]


def test_a_stream_that_cannot_be_sought_is_enough():
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.inner.readinto(memoryview(buffer)[:7])

    data = (MODELS / "text.gzip.joblib").read_bytes()
    fact, *gaps = model(Pipe(data), "text.joblib")

    assert (fact["sha256"], fact["classes"], gaps) == (
        hashlib.sha256(data).hexdigest(),
        EXPECTED["text.gzip.joblib"],
        [],
    )
