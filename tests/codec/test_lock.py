"""Locks as `pylock.toml`: they round-trip, other tools read them, and a file that was cut or edited is refused."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
import tomli_w
from packaging.pylock import Pylock

from envparity import codec
from envparity.errors import MalformedError, UsageError
from envparity.values import (
    Lock,
    LockedCode,
    LockedDistribution,
    LockedWheel,
    Packer,
    RecordRow,
    Repacked,
)
from tests.values import OTHER_SHA256, SOME_SHA256, a_conda_lock, a_lock


def test_what_was_written_is_read_back() -> None:
    assert codec.load_lock(codec.dump_lock(a_lock()).encode(), "it") == a_lock()


def test_a_wheel_may_have_an_address_and_a_place_beside_the_lock() -> None:
    (item,) = a_lock().distributions
    wheel = msgspec.structs.replace(item.wheel, path=f"pylock.artifacts/{item.wheel.name}")
    lock = a_lock(bundled=True, distributions=(msgspec.structs.replace(item, wheels=(wheel,)),))

    assert codec.load_lock(codec.dump_lock(lock).encode(), "it") == lock


def test_a_lock_with_nothing_but_what_it_must_have_round_trips() -> None:
    plain = a_lock(packer=Packer(), models=(), settings=(), environments=())

    assert codec.load_lock(codec.dump_lock(plain).encode(), "it") == plain


@pytest.mark.parametrize("dirty", [True, False, None])
def test_a_lock_says_which_code_trained(dirty: bool | None) -> None:
    lock = a_lock(code=LockedCode(url="https://git.example/team/tickets", commit="a1" * 20, dirty=dirty))

    assert codec.load_lock(codec.dump_lock(lock).encode(), "it") == lock


def test_a_lock_says_by_what_its_images_serve() -> None:
    lock = a_lock(serve="fastapi")

    assert codec.load_lock(codec.dump_lock(lock).encode(), "it") == lock


def a_repacked_lock() -> Lock:
    repacked = Repacked(
        origin="vcs",
        url="https://host.example/joblib.git",
        commit="a1" * 20,
        changed=(RecordRow(path="joblib/__init__.py", hash="sha256=x", size="3"),),
    )
    name = "joblib-1.4.2-py3-none-any.whl"
    wheel = LockedWheel(name=name, path=f"pylock.artifacts/{name}", size_bytes=5, sha256=SOME_SHA256)
    item = LockedDistribution(name="joblib", version="1.4.2", wheels=(wheel,), state="repacked", repacked=repacked)
    return a_lock(distributions=(item,))


def test_a_wheel_that_was_made_here_is_read_back_with_its_origin() -> None:
    assert codec.load_lock(codec.dump_lock(a_repacked_lock()).encode(), "it") == a_repacked_lock()


def test_the_standard_s_own_reader_finds_such_a_wheel_by_its_path() -> None:
    (package,) = Pylock.from_dict(tomllib.loads(codec.dump_lock(a_repacked_lock()))).packages

    assert package.wheels is not None
    assert (package.wheels[0].path, package.wheels[0].url) == ("pylock.artifacts/joblib-1.4.2-py3-none-any.whl", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('path = "pylock.artifacts/', 'path = "../'), r"wheels\[0\]\.path"),
        (('path = "pylock.artifacts/', 'path = "/etc/pylock.artifacts/'), r"wheels\[0\]\.path"),
        (('path = "pylock.artifacts/joblib', 'path = "pylock.artifacts/other'), r"wheels\[0\]\.path"),
        (('path = "pylock.artifacts/', 'path = "..artifacts/../'), r"path"),
        (('path = "pylock', 'url = "https://x.example/"\npath = "pylock'), r"wheels\[0\]\.url"),
        (('path = "pylock.artifacts', 'url = "pylock.artifacts'), r"wheels\[0\]\.path"),
        (('origin = "vcs"', "origin = 3"), r"repacked\.origin"),
        (('path = "joblib/__init__.py"', 'path = ""'), r"repacked\.changed"),
    ],
)
def test_a_damaged_origin_or_place_is_refused_with_its_place(change: tuple[str, str], words: str) -> None:
    text = codec.dump_lock(a_repacked_lock())
    assert change[0] in text

    with pytest.raises(MalformedError, match=words):
        codec.load_lock(text.replace(*change, 1).encode(), "lock `pylock.toml`")


def test_a_conda_package_is_read_back_with_all_that_is_known_of_it() -> None:
    assert codec.load_lock(codec.dump_lock(a_conda_lock()).encode(), "it") == a_conda_lock()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('url = "https://conda.example/main/linux-64', 'url = "https://evil.example/main/linux-64'), r"\[0\]\.url"),
        (('file_name = "libdemo-1.2', 'file_name = "../libdemo-1.2'), "file_name"),
        (('subdir = "linux-64"', 'subdir = ".."'), "subdir"),
        (('build = "h1_0"', "build = 1"), "build"),
    ],
)
def test_a_damaged_conda_package_is_refused_with_its_place(change: tuple[str, str], words: str) -> None:
    text = codec.dump_lock(a_conda_lock())
    assert change[0] in text

    with pytest.raises(MalformedError, match=words):
        codec.load_lock(text.replace(*change, 1).encode(), "lock `pylock.toml`")


@pytest.mark.parametrize("channel", ["ftp://conda.example/main", "relative"])
def test_a_conda_channel_that_cannot_be_fetched_from_is_refused(channel: str) -> None:
    lock = a_conda_lock(channel=channel, url=f"{channel}/linux-64/libdemo-1.2-h1_0.conda")

    with pytest.raises(MalformedError, match="file address"):
        codec.load_lock(codec.dump_lock(lock).encode(), "it")


def test_a_conda_package_that_stands_there_twice_is_refused() -> None:
    lock = a_conda_lock()
    (target,) = lock.targets
    twice = msgspec.structs.replace(target, conda_packages=target.conda_packages * 2)

    with pytest.raises(MalformedError, match="locked twice"):
        codec.load_lock(codec.dump_lock(msgspec.structs.replace(lock, targets=(twice,))).encode(), "it")


def test_a_wheel_without_an_address_is_refused_where_no_origin_says_that_it_was_made_here() -> None:
    text = codec.dump_lock(a_repacked_lock()).replace("[packages.tool.envparity.repacked]", "[packages.tool.other]")

    with pytest.raises(MalformedError, match=r"wheels\[0\]\.url"):
        codec.load_lock(text.encode(), "lock `pylock.toml`")


def test_equal_locks_are_equal_bytes() -> None:
    assert codec.dump_lock(a_lock()) == codec.dump_lock(codec.load_lock(codec.dump_lock(a_lock()).encode(), "it"))


def test_versions_ranges_and_markers_are_written_as_the_standard_s_own_writer_does() -> None:
    (one,) = a_lock().distributions
    spelled = msgspec.structs.replace(one, marker="sys_platform=='linux'", requires_python=">=3.9, <4,!=3.10.*")
    whole = msgspec.structs.replace(spelled, version="v1.4.2.0")

    for lock in (a_lock(), a_lock(distributions=(whole,)), a_lock(requires_python="<4,>=3"), a_conda_lock()):
        document = tomllib.loads(codec.dump_lock(lock))

        assert tomli_w.dumps(Pylock.from_dict(document).to_dict()) == tomli_w.dumps(document)


def test_the_standard_s_own_reader_accepts_it() -> None:
    """uv and pip must be able to install what we lock."""
    lock = Pylock.from_dict(tomllib.loads(codec.dump_lock(a_lock())))

    assert [(package.name, str(package.version)) for package in lock.packages] == [("joblib", "1.4.2")]


def test_a_lock_cut_at_any_line_is_refused() -> None:
    """TOML that ends at a line boundary is still TOML: a shorter lock must never pass for a whole one."""
    lines = codec.dump_lock(a_lock()).splitlines(keepends=True)

    for count in range(len(lines)):
        with pytest.raises(MalformedError):
            codec.load_lock("".join(lines[:count]).encode(), "it")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("schema = 1", "schema = 2"), "schemas up to 1"),
        (('lock-version = "1.0"', 'lock-version = "2.0"'), "lock-version"),
        (("count = ", "count = 1"), "cut or edited"),
        (('name = "joblib"', '<<<<<<< HEAD\nname = "joblib"'), "merge conflict"),
        (("size = 301817", "size = -5"), "pylock|size"),
        (('sha256 = "0123', 'sha256 = "xyz3'), "sha256"),
        (('lock-version = "1.0"', ""), "pylock"),
        (("schema = 1", "schema = 0"), "schema"),
        (("schema = 1", "schema = true"), "schema"),
        (("count = ", "count = []#"), "count"),
        (('"\ncount = ', '"\ncount = []#'), "end.count"),
        (("[tool.envparity.end]", "[tool.envparity.end.deeper]"), "end"),
        (('[tool.envparity.target."linux/amd64"]', "[tool.envparity.other]"), r"target"),
        (('target."linux/amd64"]', 'target."linux/../amd64"]'), "platform"),
        (('version = "3.11.7"', 'version = "x.y"'), "interpreter.version"),
        (('version = "3.11.7"', 'version = "3.11.7\\nhome = /evil"'), "interpreter.version"),
        (('executable = "/opt', 'executable = "opt'), "interpreter.executable"),
        (('executable = "/opt', 'executable = "/opt/../..'), "interpreter.executable"),
        (('name = "cpython-3.11.7.tar.gz"', 'name = "../cpython-3.11.7.tar.gz"'), "artifact.name"),
        (('name = "snapshot-', 'name = "/etc/snapshot-'), "snapshot.name"),
        (('pool_path = "pool/', 'pool_path = "../pool/'), "pool_path"),
        (('pool_path = "pool/', 'pool_path = "/pool/'), "pool_path"),
        (('pool_path = "pool/', 'pool_path = "pool/?'), "pool_path"),
        (('name = "model.joblib"', 'name = ".."'), "models"),
        (('name = "model.joblib"', 'name = "a\\nb"'), "models"),
        (('url = "https://', 'url = "file:///'), r"packages\[0\]\.wheels\[0\]\.url"),
        (('url = "https://files.example', 'url = "https://files.example:99999'), r"wheels\[0\]\.url"),
        (('url = "https://files.example', 'url = "https://[files.example'), r"wheels\[0\]\.url"),
        (('version = "1.4.2"', 'version = "1.4.2"\nmarker = "python_version >"'), "marker"),
        (('state = "matched"', "state = 3"), r"packages\[0\]\.tool\.envparity\.state"),
        (('sha256 = "0123', 'sha256 = "\\n123'), "sha256|pylock"),
        (("[tool.envparity.packer]", "[tool.envparity.packer"), "not TOML"),
    ],
)
def test_a_damaged_lock_is_refused_with_its_place(change: tuple[str, str], words: str) -> None:
    text = codec.dump_lock(a_lock())
    assert change[0] in text

    with pytest.raises(MalformedError, match=words) as caught:
        codec.load_lock(text.replace(*change, 1).encode(), "lock `pylock.toml`")

    assert "lock `pylock.toml`" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tool", "envparity"), 3),
        (("tool", "envparity", "target"), []),
        (("tool", "envparity", "target"), {"linux/amd64": 3}),
        (("tool", "envparity", "end"), 3),
        (("tool", "envparity", "count"), []),
        (("tool", "envparity", "models"), 3),
        (("tool", "envparity", "settings"), [3]),
        (("tool", "envparity", "packer"), "gzip"),
        (("packages", 0, "tool", "envparity"), 3),
        (("packages", 0, "tool", "envparity", "import-names"), "joblib"),
        (("packages", 0, "wheels"), "x2"),
    ],
)
def test_a_table_of_another_shape_is_malformed_and_its_place_is_named(path: tuple[str | int, ...], value: Any) -> None:
    document = tomllib.loads(codec.dump_lock(a_lock()))
    table: Any = document
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = table[path[-1]] * 2 if value == "x2" else value

    with pytest.raises(MalformedError, match=r"lock `pylock\.toml`") as caught:
        codec.load_lock(tomli_w.dumps(document).encode(), "lock `pylock.toml`")

    assert str(path[0]) in caught.value.where


def test_one_package_locked_twice_is_refused() -> None:
    lock = a_lock()
    twice = a_lock(distributions=lock.distributions * 2)

    with pytest.raises(MalformedError, match="`joblib` is locked twice"):
        codec.load_lock(codec.dump_lock(twice).encode(), "it")


def test_a_lock_of_another_tool_is_told_apart_from_a_damaged_one() -> None:
    text = 'lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n'

    with pytest.raises(UsageError, match="not made by envparity"):
        codec.load_lock(text.encode(), "it")


def two_packages() -> str:
    """The text of a lock of `joblib` and `six`."""
    (joblib,) = a_lock().distributions
    wheel = LockedWheel(
        name="six-1.16-py3-none-any.whl", url="https://files.example/six", size_bytes=5, sha256=OTHER_SHA256
    )
    six = LockedDistribution(name="six", version="1.16", wheels=(wheel,), state="matched")
    return codec.dump_lock(a_lock(distributions=(joblib, six)))


def line_of(text: str, part: str) -> int:
    return text.count("\n", 0, text.index(part)) + 1


@pytest.mark.parametrize(
    ("before", "after", "at", "words"),
    [
        ("size = 301817", "size = 301818", 'name = "joblib"', "`joblib` was changed"),
        (f'sha256 = "{OTHER_SHA256}"', f'sha256 = "{SOME_SHA256}"', 'name = "six"', "`six` was changed"),
        ("https://files.example/six", "https://other.example/six", 'name = "six"', "`six` was changed"),
        ('state = "matched"', 'state = "proven"', 'name = "joblib"', "`joblib` was changed"),
        ('name = "six"\nversion = "1.16"', 'name = "six"\nversion = "1.16"\nmarker = \'os_name == "nt"\'',
         'name = "six"', "`six` was changed"),
        ("deb12u13_amd64.deb", "deb12u14_amd64.deb", 'name = "libc6"', "`libc6` was changed"),
        ('reason = "gone"', 'reason = "fine"', 'kind = "os-package"', "`libc6` was changed"),
        ('base = "debian:bookworm"', 'base = "debian:trixie"', "base = ", "target `linux/amd64`"),
        ('value = "2"', 'value = "1"', "settings", "`settings` was changed"),
        ('modules = [\n    "sklearn.pipeline",\n]', "modules = []", "models", "`models` was changed"),
        ('requires-python = "==3.11.*"', 'requires-python = ">=3.11"', "requires-python", "`requires-python` was ch"),
    ],
)  # fmt: skip
def test_what_was_edited_by_hand_is_refused_with_its_line(before: str, after: str, at: str, words: str) -> None:
    """It would be installed as it says, and nothing would tell that no command ever wrote that."""
    text = two_packages()
    assert text.count(before) >= 1
    edited = text.replace(before, after, 1)

    with pytest.raises(MalformedError, match="edited by hand") as caught:
        codec.load_lock(edited.encode(), "it")

    (detail,) = caught.value.details
    assert words in detail
    said = int(detail.partition(":")[0].removeprefix("line "))
    assert abs(said - line_of(edited, at)) <= 1, "the table of the part, whose name stands in the next line"
    assert caught.value.where.startswith(f"line {said}, ")


def test_a_package_that_was_taken_out_is_missed_where_it_stood() -> None:
    text = two_packages()
    start, end = text.index("[[packages]]"), text.rindex("[[packages]]")
    edited = text[:start] + text[end:]

    with pytest.raises(MalformedError, match="edited by hand") as caught:
        codec.load_lock(edited.encode(), "it")

    assert caught.value.details == (f"line {line_of(edited, '[[packages]]')}: something before `six` was taken out",)


def test_a_package_that_was_put_in_is_told_with_its_line() -> None:
    text = two_packages()
    start = text.index("[[packages]]")
    added = text[start : text.rindex("[[packages]]")].replace("joblib", "evil")
    edited = text[:start] + added + text[start:]

    with pytest.raises(MalformedError, match="edited by hand") as caught:
        codec.load_lock(edited.encode(), "it")

    assert caught.value.details == (f"line {line_of(edited, '[[packages]]')}: `evil` was added or changed",)


def test_a_table_that_stands_twice_is_refused_with_both_lines() -> None:
    text = two_packages()
    start, end = text.index("[[packages]]"), text.rindex("[[packages]]")
    edited = text[:end] + text[start:end] + text[end:]

    with pytest.raises(MalformedError, match="`joblib` is locked twice") as caught:
        codec.load_lock(edited.encode(), "it")

    first = line_of(edited, "[[packages]]")
    second = first + text[start:end].count("\n")
    assert caught.value.details == (f"line {first}: the first of them", f"line {second}: the second")


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    text = two_packages().replace('name = "six"', 'name = "six"\nname = "six"', 1)

    twice = line_of(text, 'name = "six"') + 1
    with pytest.raises(MalformedError, match=f"line {twice}"):
        codec.load_lock(text.encode(), "it")


def test_both_sides_of_a_merge_are_refused_with_the_line() -> None:
    text = two_packages().replace('name = "six"', '<<<<<<< HEAD\nname = "six"', 1)

    with pytest.raises(MalformedError, match="merge conflict") as caught:
        codec.load_lock(text.encode(), "it")

    assert caught.value.where == f"line {line_of(text, '<<<<<<<')}"


def test_comments_white_space_and_tables_of_others_are_people_s_own() -> None:
    """A lock is reviewed, and a reviewer writes down why."""
    text = two_packages()
    edited = text.replace('version = "1.16"', '# because of #123\n  version   =   "1.16"  # so', 1)
    edited = edited.replace("[[packages]]", "\n\n[[packages]]").replace("\n", "\r\n")
    edited = edited.replace("[tool.envparity]", "[tool.ours]\r\nowner = 'ada'\r\n\r\n[tool.envparity]", 1)

    assert codec.load_lock(edited.encode(), "it") == codec.load_lock(text.encode(), "it")


@pytest.mark.parametrize("kept", ["sha256", "marks"])
def test_a_seal_that_is_not_whole_is_no_seal(kept: str) -> None:
    document = tomllib.loads(two_packages())
    (gone,) = {"sha256", "marks"} - {kept}
    del document["tool"]["envparity"]["end"][gone]
    text = tomli_w.dumps(document)

    if kept == "sha256":
        codec.load_lock(text.encode(), "it")  # it is what was written; only where it is not would nobody know
    else:
        with pytest.raises(MalformedError, match="edited by hand"):
            codec.load_lock(text.encode(), "it")


def test_a_lock_from_before_there_was_a_seal_is_read() -> None:
    lines = two_packages().splitlines()
    end = lines.index("[tool.envparity.end]")
    text = "\n".join([*lines[: end + 1], lines[-1]])

    assert codec.load_lock(text.encode(), "it") == codec.load_lock(two_packages().encode(), "it")


@pytest.mark.parametrize(
    ("change", "at"),
    [
        (("size = 301817", 'size = "many"'), "size = "),
        (("size = 301817", "size = -5"), "size = "),
        (("https://files.example/joblib", "ftp://files.example/joblib"), "url = "),
        (('pool_path = "pool/', 'pool_path = "../pool/'), "pool_path = "),
        (('executable = "/opt', 'executable = "opt'), "executable = "),
        (('state = "matched"', "state = 3"), "state = "),
        (('name = "model.joblib"', 'name = ".."'), 'name = ".."'),
        (('lock-version = "1.0"', 'lock-version = "2.0"'), "lock-version"),
    ],
)
def test_what_is_damaged_is_told_by_its_line(change: tuple[str, str], at: str) -> None:
    text = codec.dump_lock(a_lock()).replace(*change, 1)

    with pytest.raises(MalformedError) as caught:
        codec.load_lock(text.encode(), "it")

    assert caught.value.where.startswith(f"line {line_of(text, at)}, ")


UTF_8 = codec.dump_lock(a_lock()).encode()


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + UTF_8, UTF_8.replace(b"\n", b"\r\n"), UTF_8.rstrip()])
def test_how_an_editor_saves_it_is_no_matter(data: bytes) -> None:
    assert codec.load_lock(data, "it") == a_lock()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"# made by hand\n\n", "is empty"),
        (UTF_8.decode().encode("utf-16"), "looks like UTF-16"),
        (UTF_8.replace(b"joblib", b"job\0lib", 1), "NUL characters"),
        (b"numpy==1.26.4 --hash=sha256:00\n", "not TOML"),
        (b"Resolved 5 packages in 3ms\n", "not TOML"),
        (b"<<<<<<< ours\n" + UTF_8, "merge conflict"),
        (UTF_8 + b"x = " + b"[" * 50_000 + b"]" * 50_000 + b"\n", "nested too deep"),
        (UTF_8.replace(b"301817", b"9" * 5000), "digits"),
        (UTF_8.replace(b"301817", b"nan"), "size"),
        (UTF_8.replace(b"301817", b"%d" % 2**63), "size"),
        (UTF_8.replace(b"301817", b'"301817"'), "size"),
        (UTF_8.replace(b'sha256 = "0123', b'md5 = "0123', 1), r"hashes\.sha256"),
        (UTF_8.replace(b'sha256 = "0123', b'sha256 = "01', 1), r"hashes\.sha256"),
        (UTF_8.replace(b'sha256 = "0123', b'sha256 = " 123', 1), r"hashes\.sha256"),
        (UTF_8.replace(b'url = "https://', b'url = "data:', 1), r"wheels\[0\]\.url"),
        (UTF_8.replace(b'url = "https:', b'url = "', 1), r"wheels\[0\]\.url"),
        (UTF_8.replace(b'"1.4.2"', b'"1.4.2"\nmarker = "frob == 1"', 1), r"packages\[0\]\.marker"),
        (UTF_8.replace(b'"1.4.2"', b'"1.4.2"\nmarker = "' + b"(" * 5000 + b'"', 1), r"packages\[0\]\.marker"),
        (UTF_8.replace(b'"1.4.2"', b'"1.4.2"\nsdist = { name = "joblib-1.4.2.tar.gz" }', 1), r"packages\[0\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_lock_can_be_is_one_line_that_names_the_place(data: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says) as caught:
        codec.load_lock(data, "lock `pylock.toml`")

    message = str(caught.value)
    assert message.startswith("lock `pylock.toml`")
    assert "\n" not in message
    assert len(message) < 300


def test_a_marker_of_ten_thousand_terms_is_read() -> None:
    terms = " and ".join(['python_version > "3"'] * 10_000)
    (item,) = a_lock().distributions
    text = codec.dump_lock(a_lock(distributions=(msgspec.structs.replace(item, marker=terms),)))

    assert codec.load_lock(text.encode(), "it").distributions[0].marker == terms
