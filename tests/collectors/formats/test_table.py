"""Laws that hold for every format: nothing crashes, nothing runs, nothing is passed off as whole."""

import hashlib
import io
import pickle
import random
import sys
from pathlib import Path

import pytest

MADE = Path(__file__).resolve().parents[2] / "data" / "models" / "formats"
FILES = sorted(str(path.relative_to(MADE)) for path in MADE.rglob("*") if path.is_file() and path.suffix != ".py")


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_hashed_and_nothing_of_it_is_unread(name, made, seen):
    data = made(name)
    found = seen(data, name)

    assert (found.fact["sha256"], found.fact["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert found.unread == []


@pytest.mark.parametrize("name", FILES)
def test_a_stream_that_cannot_be_sought_tells_the_same(name, made, seen, pipe):
    from envparity.collectors.models import model

    data = made(name)

    assert list(model(pipe(data), name)) == list(model(io.BytesIO(data), name))


# Cut in its weights, or after what is read of it, such a file looks whole: its form does not say how long it is.
SAYS_NO_LENGTH = ("pipeline.onnx", "MLmodel")


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_gives_facts_and_gaps_and_no_error(name, made, seen):
    data = made(name)
    known = seen(data, name).modules

    for length in sorted({len(data) * part // 40 for part in range(40)}):
        found = seen(data[:length], name)
        assert found.fact["size_bytes"] == length
        if known and not name.endswith(SAYS_NO_LENGTH):
            assert found.unread or found.not_recorded, length


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_damaged_bytes_gives_facts_and_gaps_and_no_error(name, made, seen):
    data, chance = made(name), random.Random(name)

    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 5)):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        found = seen(bytes(damaged), name, values=1_000_000, opcodes=1_000_000, unpacked_bytes=64 << 20)
        assert found.fact["sha256"] == hashlib.sha256(damaged).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_a_line_twice_or_a_byte_order_mark_gives_facts_and_gaps_and_no_error(name, made, seen):
    data = made(name)
    half = len(data) // 2

    for changed in (
        b"\xef\xbb\xbf" + data,
        data[:half] + data[half // 2 :],
        data.replace(b"\n", b"\r\n"),
        data + b"\0",
    ):
        assert seen(changed, name).fact["size_bytes"] == len(changed)


class Evil:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("name", ["m.safetensors", "m.onnx", "m.json", "m.npy", "m.h5", "m.gguf", "m.cbm", "m"])
def test_a_pickle_is_read_as_one_and_never_run_whatever_it_is_called(name, seen, capfd):
    found = seen(pickle.dumps(Evil(), 4), name)

    assert (found.form, found.classes) == ("pickle", {"builtins:print"})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("start", "name", "form"),
    [
        (b"7z\xbc\xaf\x27\x1crest", "m.pkl", "7z"),
        (b"PAR1rest", "m", "parquet"),
        (b"\x1c\0\0\0TFL3rest", "m", "tflite"),
        (b"a,b\n1,2\n", "m.csv", "csv"),
        (b"<PMML/>", "m.pmml", "pmml"),
    ],
)
def test_a_format_that_nothing_reads_is_named(start, name, form, seen):
    found = seen(start, name)

    assert (found.form, found.unread) == (form, [])
    assert found.not_recorded == [f"what a file of the format {form} needs is not read"]


def test_what_a_text_says_as_opcodes_of_a_pickle_means_nothing(seen):
    found = seen(b"(hello world", "notes.rst")

    assert (found.form, found.modules, found.unread) == ("unknown", set(), [])


def test_a_pointer_of_git_lfs_stands_for_the_file_that_it_names(seen):
    """Who forgets `git lfs pull` must not ship 130 bytes as the model."""
    digest = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    found = seen(b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % digest.encode(), "m.pt")

    assert (found.fact["pointer"], found.fact["size_bytes"], found.fact["sha256"]) == ("git-lfs", 12345, digest)
    assert found.not_recorded == ["it is a pointer of git-lfs: the file itself is not here"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by what Linux tells")
@pytest.mark.parametrize("kind", ["json", "zip", "safetensors", "gguf", "npy", "onnx", "ubjson", "cbm"])
def test_lengths_without_end_take_no_memory(kind, seen):
    import tracemalloc
    import zipfile

    huge = (1 << 60).to_bytes(8, "little")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x05\x8e" + huge + b"\0" * (96 << 20))
    data = {
        "json": b"[" * 4_000_000,
        "zip": bomb.getvalue(),
        "safetensors": huge + b"{",
        "gguf": b"GGUF\x03\0\0\0" + huge + huge + huge,
        "npy": b"\x93NUMPY\x02\0\xff\xff\xff\x7f{",
        "onnx": b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        "ubjson": b"{L\0\0\0\0\0\0\0\x07learner[#L\x7f" + b"\xff" * 7,
        "cbm": b"CBM1\xff\xff\xff\xff",
    }[kind]
    tracemalloc.start()
    try:
        found = seen(data, "m." + kind)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found.unread
    assert peak < 48 << 20
