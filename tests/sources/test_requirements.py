"""A requirements file is read as pip reads it, or refused with its line."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from envparity.errors import EnvparityError, MalformedError, UnsupportedError, UsageError
from envparity.sources import Options, read, requirement_lines, requirements
from envparity.values import Basis, Distribution, Environment, GapKind

RECORD = json.loads((Path(__file__).parents[1] / "data/requirements/pip.json").read_text())

OLDER_PIPS = {"reqopt.txt", "url.txt"}
"""Lines that pip 26.3 refuses and older pips accepted: `--global-option`, and extras in an `#egg=`."""

BY_FILE_SYSTEM = {"editbad.txt"}
"""pip looks whether a folder of that name exists; a file that is read elsewhere cannot."""

HASH = "sha256:" + "a" * 64


def parse(text: str | bytes, folder: Path = Path()) -> Environment:
    data = text.encode() if isinstance(text, str) else text
    return requirements.parse(data, "requirements.txt", Options(base_dir=folder))


def found(environment: Environment, name: str) -> Distribution:
    return next(item for item in environment.distributions or () if item.name == name)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for name, case in RECORD["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(case["content"].encode("latin-1"))
    return tmp_path


@pytest.mark.parametrize("name", sorted(RECORD["files"]))
def test_every_line_means_what_pip_takes_it_for(name: str, cases: Path) -> None:
    """Whoever installs with pip and compares with us must not be told of two different environments."""
    answer = RECORD["files"][name]["answer"]
    data = (cases / name).read_bytes()
    if isinstance(answer, str) and name not in OLDER_PIPS | BY_FILE_SYSTEM:
        with pytest.raises((MalformedError, UsageError)) as caught:
            requirements.parse(data, name, Options(base_dir=cases))
        assert ".txt:" in caught.value.where
        return

    ours = [_row(entry) for entry in requirement_lines.entries(data, name, (cases / name).parent)]

    if not isinstance(answer, str):
        assert ours == [_as_ours(row) for row in answer]


def _row(entry: requirement_lines.Entry) -> dict[str, Any]:
    wanted = requirements._understood(entry)
    if not isinstance(wanted, requirements.Wanted):
        return {"name": "", "constraint": entry.constraint, "editable": entry.editable}
    return {
        "name": wanted.name,
        "specifier": "" if wanted.url else wanted.specifier,
        "marker": wanted.marker,
        "extras": sorted(wanted.extras),
        "placed": bool(wanted.url),
        "hashes": [] if "#" in wanted.url else list(wanted.hashes),
        "constraint": wanted.constraint,
        "editable": wanted.editable,
    }


def _as_ours(row: dict[str, Any]) -> dict[str, Any]:
    if not row["name"]:
        return {"name": "", "constraint": row["constraint"], "editable": row["editable"]}
    hashes = sorted(item.lower() for item in row["hashes"])
    specifier = "" if row["placed"] else row["specifier"]
    extras = sorted(canonicalize_name(extra) for extra in row["extras"])
    return {**row, "name": canonicalize_name(row["name"]), "hashes": hashes, "specifier": specifier, "extras": extras}


def test_a_pin_has_a_version_and_a_range_has_a_specifier() -> None:
    """`>=1.26` against 1.26.4 is satisfied, not equal: the two must not look alike."""
    environment = parse("numpy==1.26.4\nscipy>=1.11,<2\npandas==2.*\nsix\n")

    assert [(item.name, item.version, item.specifier) for item in environment.distributions or ()] == [
        ("numpy", "1.26.4", ""),
        ("pandas", "", "==2.*"),
        ("scipy", "", "<2,>=1.11"),
        ("six", "", ""),
    ]
    assert {item.basis for item in environment.distributions or ()} == {Basis.DECLARED}


def test_a_pin_with_hashes_is_locked() -> None:
    environment = parse(f"numpy==1.26.4 --hash={HASH.upper().replace('SHA256', 'sha256')}\n")

    assert found(environment, "numpy").basis is Basis.LOCKED
    assert found(environment, "numpy").hashes == (HASH,)


def test_what_a_file_does_not_name_is_unknown() -> None:
    """A reader who sees "removed" for what a requirements file merely does not list would re-install it."""
    environment = parse("numpy\n")

    assert environment.open
    assert environment.os_packages is None
    assert environment.python is None
    unknown = {gap.section for gap in environment.gaps if gap.kind is GapKind.NOT_RECORDED}
    assert {"python", "system", "cpu", "os_packages", "native_libraries", "numerics"} <= unknown
    assert environment.complete


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n", codecs.BOM_UTF8.decode() + "\r\n"])
def test_a_file_that_asks_for_nothing_is_read_and_empty(text: str) -> None:
    assert parse(text).distributions == ()


def test_included_files_are_read_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "all.txt").write_text("-r deep/base.txt\nscipy==1.11\n")
    (tmp_path / "deep/base.txt").write_text("-r more.txt\n")
    (tmp_path / "deep/more.txt").write_text("numpy==1.26.4\n")

    environment = read("all.txt", options=Options(base_dir=tmp_path))

    assert [item.name for item in environment.distributions or ()] == ["numpy", "scipy"]


def test_the_indexes_of_a_file_are_those_of_what_it_includes_too(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("--extra-index-url=https://b.example/simple\n-i https://a.example/simple/\n")
    data = b"--index-url https://a.example/simple/\nsix==1.17.0\n-r more.txt\n--find-links wheels\n"

    assert requirement_lines.indexes(data, "all.txt", tmp_path) == (
        "https://a.example/simple/",
        "https://b.example/simple",
    )


def test_a_constraint_binds_what_is_asked_for_and_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text("numpy<2\nscipy==1.11.4\npandas==2.2\n")

    environment = parse("-c limits.txt\nnumpy>=1.20\nscipy\n", tmp_path)

    assert found(environment, "numpy").specifier == "<2,>=1.20"
    assert found(environment, "scipy").version == "1.11.4"
    assert len(environment.distributions or ()) == 2
    assert any("pandas" in gap.reason for gap in environment.gaps)


def test_a_constraint_under_a_marker_is_not_applied_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text("numpy<2; python_version < '3.9'\n")

    environment = parse("-c limits.txt\nnumpy\n", tmp_path)

    assert found(environment, "numpy").specifier == ""
    assert any(gap.item == "numpy" and "marker" in gap.reason for gap in environment.gaps)


def test_one_project_under_two_markers_is_two_facts() -> None:
    environment = parse("numpy==1.26.4; python_version < '3.13'\nnumpy==2.1.0; python_version >= '3.13'\n")

    assert [(item.version, item.marker) for item in environment.distributions or ()] == [
        ("1.26.4", 'python_version < "3.13"'),
        ("2.1.0", 'python_version >= "3.13"'),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("numpy==1.26.4\n\nnumpy==1.26.3\n", "requirements.txt:1"),
        ("numpy>=2\nnumpy==1.26.4\n", "requirements.txt:1"),
        (f"numpy==1 --hash={HASH}\nnumpy==1 --hash=sha256:{'b' * 64}\n", "different hashes"),
        ("p @ https://a.example/p.zip\np @ https://b.example/p.zip\n", "requirements.txt:1"),
    ],
)
def test_two_lines_that_contradict_each_other_are_both_named(text: str, told: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(text)

    assert told in str(caught.value)
    assert caught.value.where.startswith("requirements.txt:")


def test_a_constraint_that_contradicts_is_named_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text("\nnumpy<1\n")

    with pytest.raises(MalformedError, match=r"limits\.txt:2"):
        parse("-c limits.txt\nnumpy==1.26.4\n", tmp_path)


def test_lines_that_agree_are_one() -> None:
    environment = parse("Flask>=2\nflask<4\nflask[async]==3.0.0\n")

    flask = found(environment, "flask")
    assert (flask.version, flask.specifier, flask.extras) == ("3.0.0", "", ("async",))


def test_one_hash_missing_among_many_is_an_error_with_its_line() -> None:
    """pip refuses such a file; an environment read from it would promise what nobody can install."""
    with pytest.raises(MalformedError, match="`scipy` has no hash") as caught:
        parse(f"numpy==1 --hash={HASH}\nscipy==1\n")

    assert caught.value.where == "requirements.txt:2"


def test_a_hash_in_an_address_asks_for_no_other() -> None:
    """`pip freeze` writes one of each wheel that came from an address (models of spaCy), and pip installs that file."""
    address = f"https://files.example/p-1.0-py3-none-any.whl#sha256={'b' * 64}"
    environment = parse(f"p @ {address}\n{address.replace('p-', 'q-')}\nscipy==1\n")

    assert found(environment, "p").hashes == found(environment, "q").hashes == (f"sha256:{'b' * 64}",)
    assert found(environment, "scipy").hashes == ()
    with pytest.raises(MalformedError, match="`scipy` has no hash"):
        parse(f"p @ {address}\nnumpy==1 --hash={HASH}\nscipy==1\n")
    assert parse(f"p @ {address}\nnumpy==1 --hash={HASH}\n").distributions


@pytest.mark.parametrize("given", ["sha256:abc", "sha256:" + "g" * 64, "md5:" + "a" * 32, "a" * 64, "sha1:" + "a" * 40])
def test_a_hash_that_proves_nothing_is_refused(given: str) -> None:
    with pytest.raises(MalformedError, match="--hash=") as caught:
        parse(f"numpy==1 --hash={given}\n")

    assert caught.value.where == "requirements.txt:1"


def test_all_bad_lines_are_named_at_once() -> None:
    """Somebody with ten bad lines should not have to run this ten times."""
    with pytest.raises(MalformedError, match="3 lines") as caught:
        parse("numpy=1\nok==1\n@@@\nfoo bar\n")

    assert [line.partition(": ")[0] for line in caught.value.details] == [f"requirements.txt:{n}" for n in (1, 3, 4)]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_a_line_break_that_no_editor_shows_is_refused(character: str) -> None:
    """CVE-2021-3572: a reviewer sees a comment, pip sees a second requirement."""
    with pytest.raises(MalformedError, match=r"U\+") as caught:
        parse(f"numpy==1.26.4\n# harmless{character}evil==1\n")

    assert caught.value.where == "requirements.txt:2"


def test_a_form_feed_alone_on_its_line_parts_pages_as_ever() -> None:
    assert len(parse("numpy\n\x0c\nscipy\n").distributions or ()) == 2


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", "=======", ">>>>>>> branch", "||||||| base"])
def test_a_merge_conflict_is_named_with_its_line(mark: str) -> None:
    with pytest.raises(MalformedError, match="merge conflict") as caught:
        parse(f"numpy==1\n{mark}\nnumpy==2\n")

    assert caught.value.where == "requirements.txt:2"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"numpy==1\n\xff\xe9\n", "utf-8"),
        (b"numpy==1\nfoo\0bar\n", "NUL"),
        ("numpy==1\n".encode("utf-16-le"), "NUL"),
        (b"# coding: ebcdic-nope\nnumpy\n", "ebcdic-nope"),
        (b"# coding: base64\nnumpy\n", "base64"),
        (codecs.BOM_UTF16_LE + b"n", "utf-16-le"),
    ],
)
def test_bytes_that_are_no_text_are_refused_by_the_name_of_their_encoding(data: bytes, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        parse(data)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{\n "bomFormat": "CycloneDX"\n}', "CycloneDX"),
        ("name: x\ndependencies:\n  - numpy\n", "conda"),
        ('version = 1\n\n[[package]]\nname = "a"\nsource = { registry = "x" }\n', "uv"),
        ("@EXPLICIT\nhttps://conda.example/x.conda\nfoo bar baz\n", "@EXPLICIT"),
        ("<!DOCTYPE html>\n<html>\n", "HTML"),
        ("Package    Version\n---------- -------\nnumpy      1.26.4\n", "pip list"),
    ],
)
def test_a_file_of_another_format_is_named_as_what_it_looks_like(text: str, told: str, tmp_path: Path) -> None:
    """Both shapes stand in public repositories; "not a requirement" at line 1 helps nobody."""
    (tmp_path / "requirements.txt").write_text(text)

    with pytest.raises(MalformedError, match="looks like") as caught:
        read("requirements.txt", options=Options(base_dir=tmp_path))

    assert told in str(caught.value)
    assert caught.value.hint


def test_files_that_include_each_other_are_named_in_their_circle(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("\n-r a.txt\n")

    with pytest.raises(MalformedError, match=r"a\.txt -> b\.txt -> a\.txt") as caught:
        read("a.txt", options=Options(base_dir=tmp_path))

    assert caught.value.where == "b.txt:2"


def test_an_included_link_that_leads_to_itself_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r itself.txt\n")
    (tmp_path / "itself.txt").symlink_to("itself.txt")

    with pytest.raises(EnvparityError, match=r"itself\.txt") as caught:
        read("a.txt", options=Options(base_dir=tmp_path))

    assert caught.value.where == "a.txt:1"


def test_includes_have_a_depth_and_a_number(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n")
    for number in range(12):
        (tmp_path / f"wide{number}.txt").write_text(f"-r wide{number + 1}.txt\n" * 3)
    (tmp_path / "wide12.txt").write_text("numpy\n")

    with pytest.raises(MalformedError, match="50 levels"):
        read("0.txt", options=Options(base_dir=tmp_path))
    with pytest.raises(MalformedError, match="1000 files"):
        read("wide0.txt", options=Options(base_dir=tmp_path))


def test_an_included_file_that_is_missing_is_named_with_the_line_that_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist") as caught:
        parse("numpy\n-c gone.txt\n", tmp_path)

    assert caught.value.where == "requirements.txt:2"


@pytest.mark.parametrize("target", ["https://user:hunter2@files.example/base.txt", "file:///etc/passwd", "HTTP://x/y"])
def test_a_url_is_not_included(target: str) -> None:
    with pytest.raises(UnsupportedError, match="URL") as caught:
        parse(f"-r {target}\n")

    assert "hunter2" not in str(caught.value)


def test_no_secret_of_the_file_is_kept_or_said() -> None:
    """A snapshot travels to places where the index's password must not."""
    text = (
        "--index-url https://bob:hunter2@index.example/simple\n"
        "--extra-index-url https://hunter2@other.example/t/hunter2/simple\n"
        "p @ https://bob:hunter2@files.example/p-1.0-py3-none-any.whl?X-Amz-Signature=hunter2\n"
        "git+https://hunter2@git.example/q.git#egg=q\n"
        "https://bob:hunter2@files.example/r.tar.gz\n"
        "-e git+ssh://git@git.example/s.git#egg=s\n"
    )

    environment = parse(text)

    assert "hunter2" not in repr(environment)
    assert found(environment, "p").version == "1.0"
    assert found(environment, "p").direct_url.startswith("https://files.example/p-1.0")
    assert found(environment, "s").direct_url == "git+ssh://git@git.example/s.git#egg=s"
    with pytest.raises(MalformedError) as caught:
        parse("https://bob:hunter2@files.example/notawheel.whl\n")
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_a_variable_is_never_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    monkeypatch.setenv("VERSION", "1.0")

    environment = parse("p @ https://${TOKEN}@files.example/p.zip\nnumpy==${VERSION}\n")

    assert found(environment, "p").direct_url == "https://${TOKEN}@files.example/p.zip"
    (gap,) = (gap for gap in environment.gaps if gap.kind is GapKind.UNREAD)
    assert gap.item == "numpy==${VERSION}"
    assert not environment.complete


def test_what_is_named_by_its_place_alone_is_a_gap() -> None:
    environment = parse("-e .\n./vendor/lib\n/srv/wheels/x.tar.gz\nnumpy\n-e src/pkg[extra]\n")

    assert [item.name for item in environment.distributions or ()] == ["numpy"]
    places = [gap.item for gap in environment.gaps if gap.section == "distributions"]
    assert sorted(places) == [".", "./vendor/lib", "/srv/wheels/x.tar.gz", "src/pkg[extra]"]


def test_a_wheel_by_its_place_has_the_name_and_version_of_its_file() -> None:
    environment = parse("./wheels/Foo_Bar-1.2-py3-none-any.whl\n")

    assert found(environment, "foo-bar").version == "1.2"


@pytest.mark.parametrize("line", ["numpy[extra]", "-e git+https://g.example/x#egg=x", "./x"])
def test_what_pip_refuses_as_a_constraint_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text(line + "\n")

    with pytest.raises(MalformedError, match="constraint") as caught:
        parse("-c limits.txt\n", tmp_path)

    assert caught.value.where == "limits.txt:1"


@pytest.mark.parametrize(
    "line",
    [
        "numpy; " + "(" * 7000 + "python_version > '3'" + ")" * 7000,
        "numpy; " + " and ".join(["python_version > '3'"] * 10_000),
        "n" * 20_000,
        "numpy; nonsense == '1'",
        "numpy" + " " * 1_000_000 + "x",
        "http://[::1/x.zip",
    ],
)
def test_a_hostile_line_is_refused_at_once(line: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(line + "\n")

    assert caught.value.where == "requirements.txt:1"
    assert len(str(caught.value)) < 500


def test_a_file_over_the_limit_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    with (tmp_path / "requirements.txt").open("wb") as stream:
        stream.truncate(requirement_lines.MOST_BYTES + 1)

    with pytest.raises(MalformedError, match="limit"):
        read("requirements.txt", options=Options(base_dir=tmp_path))


def test_options_that_pip_does_not_know_are_refused() -> None:
    with pytest.raises(MalformedError, match="no such option: --frobnicate") as caught:
        parse("numpy\n--frobnicate\n")

    assert caught.value.where == "requirements.txt:2"


@pytest.mark.parametrize("joint", [";", "; ", " ;", " ; "])
def test_a_marker_may_stand_right_behind_an_address(joint: str) -> None:
    """pip takes it, and so people write it; the text is none of PEP 508's."""
    environment = parse(f"demo @ https://files.example/demo-1.0-py3-none-any.whl{joint}sys_platform == 'linux'\n")

    assert found(environment, "demo").version == "1.0"
    assert found(environment, "demo").marker == 'sys_platform == "linux"'
    assert found(environment, "demo").direct_url == "https://files.example/demo-1.0-py3-none-any.whl"
