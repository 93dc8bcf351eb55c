"""
Whatever is wrong with a file, of whatever format: it is read as meant, or one error names it. Never a shorter list.

The cases are groups B 23 to 48 of what files in public repositories look like.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path

import pytest

from envparity import codec
from envparity.errors import EnvparityError, ExitStatus, MalformedError, UnsupportedError
from envparity.sources import Options, read, recognition
from envparity.values import Environment
from tests.sources.reading import read_text
from tests.sources.samples import CONDA_LOCK, PDM, PIPFILE, PIXI, POETRY, SAMPLES, UV, A

TARGET = {"platform": "linux/amd64"}
NAMES = sorted(SAMPLES)
JSON = {name for name in NAMES if name.endswith(".json") or name == "Pipfile.lock"}
LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "conda-lock.yml", "pixi.lock")


def sample(name: str) -> str:
    return SAMPLES[name][1]


def essence(environment: Environment) -> object:
    return codec.content_digest(environment)


def refusal(name: str, text: str | bytes, **target: str) -> EnvparityError:
    with pytest.raises(EnvparityError) as caught:
        read_text(name, text, **target)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_known_by_its_name_or_by_its_content(name: str) -> None:
    kind, text = SAMPLES[name]

    environment = read_text("of-another-name", text, **TARGET)

    assert environment.origin.kind == kind
    assert environment.complete
    assert essence(environment) == essence(read_text(name, text, **TARGET))


def test_every_row_of_the_table_that_can_be_read_has_a_sample() -> None:
    """A format that no test reads is a promise."""
    rows = {kind.key for kind in recognition.KINDS.values() if kind.supported}

    assert rows - {kind for kind, _ in SAMPLES.values()} == {"saved", "pylock", "requirements"}


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_snapshot_of_it_reads_back_equal(name: str, tmp_path: Path) -> None:
    environment = read_text(name, sample(name), **TARGET)
    (tmp_path / "x.env.json").write_bytes(codec.dump_environment(environment))

    assert read("x.env.json", options=Options(base_dir=tmp_path)) == environment


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_of_a_file_is_kept(name: str) -> None:
    """Tokens stand in addresses, and in the values of variables."""
    environment = read_text(name, sample(name), **TARGET)

    assert "hunter2" not in codec.dump_environment(environment).decode()
    assert "/home/ada" not in codec.content_bytes(environment).decode()


@pytest.mark.parametrize("name", NAMES)
def test_windows_line_ends_and_a_missing_last_one_change_nothing(name: str) -> None:
    text = sample(name)

    assert essence(read_text(name, text.replace("\n", "\r\n"), **TARGET)) == essence(read_text(name, text, **TARGET))
    assert essence(read_text(name, text.rstrip("\n"), **TARGET)) == essence(read_text(name, text, **TARGET))


@pytest.mark.parametrize("name", NAMES)
def test_a_byte_order_mark_is_overlooked_or_named(name: str) -> None:
    data = codecs.BOM_UTF8 + sample(name).encode()

    if name in JSON:
        assert "byte order mark" in refusal(name, data).message
    else:
        assert essence(read_text(name, data, **TARGET)) == essence(read_text(name, sample(name), **TARGET))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("encoded", "told"),
    [
        (lambda text: text.encode("utf-16"), "UTF-16"),
        (lambda text: text.encode("utf-16-le"), "NUL|binary|UTF-16"),
        (lambda text: b"\xe9" + text.encode(), "UTF-8"),
        (lambda text: text.encode()[:40] + b"\0" + text.encode()[40:], "NUL|binary|control character"),
    ],
)
def test_another_encoding_is_named(name: str, encoded: object, told: str) -> None:
    assert callable(encoded)
    # Text without a telling name may be requirements, which pip reads in other encodings too.
    known = name if recognition.by_name(name) else "environment.yml"

    error = refusal(known, encoded(sample(name)), **TARGET)

    assert error.status is ExitStatus.MALFORMED
    assert re.search(told, str(error))


@pytest.mark.parametrize("name", NAMES)
def test_a_merge_conflict_is_called_one_with_its_line(name: str) -> None:
    lines = sample(name).splitlines()
    middle = len(lines) // 2
    text = "\n".join(
        [*lines[:middle], "<<<<<<< HEAD", lines[middle], "=======", "x", ">>>>>>> theirs", *lines[middle:]]
    )

    error = refusal(name, text + "\n", **TARGET)

    assert "merge conflict" in error.message
    assert str(middle + 1) in error.where


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_an_empty_lock_is_not_a_lock_of_nothing(name: str, text: str) -> None:
    """`diff` against a lock that was lost must not report that everything was removed."""
    assert refusal(name, text).status is ExitStatus.MALFORMED


def listed(name: str, environment: Environment) -> int:
    """How many packages are there whose loss a lock shows. Nothing requires the pip packages at a conda-lock's end."""
    conda_packages = len(environment.conda_packages or ())
    return conda_packages if name == "conda-lock.yml" else conda_packages + len(environment.distributions or ())


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_that_was_cut_is_never_a_shorter_lock(name: str) -> None:
    """At every twentieth, and at the end of every line: an error, something unread, or all of it."""
    text = sample(name)
    count = listed(name, read_text(name, text, **TARGET))
    ends = {len(text) * part // 20 for part in range(20)} | {found.end() for found in re.finditer("\n", text)}

    shorter = []
    for end in sorted(ends - {len(text)}):
        try:
            environment = read_text(name, text[:end], **TARGET)
        except MalformedError:
            continue
        if environment.complete and listed(name, environment) < count:
            shorter.append(text[max(0, end - 40) : end])

    assert shorter == []


@pytest.mark.parametrize("name", sorted(JSON - {"Pipfile.lock"}))
def test_json_that_was_cut_is_an_error_everywhere(name: str) -> None:
    text = sample(name)

    for part in range(1, 20):
        assert refusal(name, text[: len(text.rstrip()) * part // 20]).status is ExitStatus.MALFORMED


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("uv.lock", "numpy==1.26.4\n", "requirements file"),
        ("poetry.lock", UV, "a lock of uv"),
        ("uv.lock", POETRY, "a lock of Poetry"),
        ("Pipfile.lock", "name: x\ndependencies:\n- numpy\n", "environment file of conda"),
        ("conda-lock.yml", PIXI, "a lock of Pixi"),
        ("requirements.txt", PIPFILE, "a lock of Pipenv"),
        ("pylock.toml", "numpy==1.26.4\n", "requirements file"),
        ("sbom.cdx.json", SAMPLES["image.spdx.json"][1], "an SBOM in SPDX"),
        ("environment.yml", "<!DOCTYPE html>\n<html>", "HTML"),
        ("bom.json", "Resolved 5 packages in 3ms\n", "not JSON"),
    ],
)
def test_a_file_of_another_format_than_its_name_is_named_as_what_it_is(name: str, content: str, told: str) -> None:
    """All of these stand in public repositories."""
    error = refusal(name, content)

    assert error.status is ExitStatus.MALFORMED
    assert told in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("uv.lock", "version = 1\n", "version = 2\n", "version 1 is known"),
        ("poetry.lock", 'lock-version = "2.1"', 'lock-version = "3.0"', "2.1"),
        ("pdm.lock", 'lock_version = "4.5.0"', 'lock_version = "5.0"', "3, 4"),
        ("Pipfile.lock", '"pipfile-spec": 6', '"pipfile-spec": 7', "6 is known"),
        ("conda-lock.yml", "version: 1\n", "version: 3\n", "1, 2"),
        ("pixi.lock", "version: 6\n", "version: 8\n", "1 to 7"),
        ("sbom.cdx.json", '"1.6"', '"2.0"', "1.7"),
        ("image.spdx.json", "SPDX-2.3", "SPDX-4.0", "SPDX-2.3"),
        ("inspect.json", '"version": "1"', '"version": "2"', "version 1"),
    ],
)
def test_a_version_of_a_format_that_is_not_known_is_refused_with_those_that_are(
    name: str, old: str, new: str, told: str
) -> None:
    assert old in sample(name)

    error = refusal(name, sample(name).replace(old, new, 1))

    assert isinstance(error, UnsupportedError)
    assert told in error.message


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("poetry.lock", "2.1", "2.9"), ("pdm.lock", "4.5.0", "4.9")],
)
def test_a_newer_minor_version_is_read_with_a_warning(name: str, old: str, new: str) -> None:
    with pytest.warns(codec.UnknownKeysWarning, match=new):
        environment = read_text(name, sample(name).replace(f'"{old}"', f'"{new}"'))

    assert environment.distributions


@pytest.mark.parametrize("name", LOCKS)
def test_unknown_keys_are_nothing_to_a_reader(name: str) -> None:
    texts = {
        "uv.lock": UV.replace('[[package]]\nname = "tqdm"', '[[package]]\nnovel = {a = 1}\nname = "tqdm"'),
        "poetry.lock": POETRY.replace("optional = false", "optional = false\nnovel = [1]", 1),
        "pdm.lock": PDM.replace('summary = "', 'novel = 1\nsummary = "'),
        "Pipfile.lock": PIPFILE.replace('"index": "pypi"', '"index": "pypi", "novel": {"a": []}'),
        "conda-lock.yml": CONDA_LOCK.replace("  manager: conda", "  novel: {a: [1]}\n  manager: conda", 1),
        "pixi.lock": PIXI.replace("  size: 6", "  size: 6\n  novel: [1]"),
    }
    assert texts[name] != sample(name)

    assert essence(read_text(name, texts[name], **TARGET)) == essence(read_text(name, sample(name), **TARGET))


NO_DIGEST = ("sha256:" + "a" * 63, "sha256:" + "g" * 64, "sha256: " + "a" * 64, "crc32:abcd", "a" * 64)


@pytest.mark.parametrize("digest", NO_DIGEST)
@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"])
def test_a_hash_that_is_none_is_refused_with_its_place(name: str, digest: str) -> None:
    error = refusal(name, sample(name).replace(f"sha256:{A}", digest, 4 if name == "pdm.lock" else 1))

    # The first digest of some files is that of their inputs, which is nothing to us.
    if name == "Pipfile.lock":
        assert error.where == "Pipfile.lock, default.numpy"
    else:
        assert re.fullmatch(rf"{name}, package\[\d\]", error.where)


@pytest.mark.parametrize("digest", ["g" * 64, "a" * 63])
@pytest.mark.parametrize("name", ["conda-lock.yml", "pixi.lock"])
def test_a_digest_of_a_conda_package_that_is_none_is_refused_with_its_place(name: str, digest: str) -> None:
    error = refusal(name, sample(name).replace(f"sha256: {A}", f"sha256: {digest}"), **TARGET)

    assert "64 hexadecimal digits" in error.message
    assert error.where


def test_a_hash_in_capitals_is_the_same_hash() -> None:
    assert essence(read_text("uv.lock", UV.replace(A, A.upper()))) == essence(read_text("uv.lock", UV))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("uv.lock", f', hash = "sha256:{"c" * 64}"', ""),
        ("uv.lock", f'hash = "sha256:{"c" * 64}"', f'hash = "md5:{"d" * 32}"'),
        ("Pipfile.lock", f'["sha256:{"c" * 64}"]', "[]"),
    ],
)
def test_a_missing_or_weak_hash_is_told_of_the_one_that_lacks_it(name: str, old: str, new: str) -> None:
    """One of three hundred without proof must not hide among the others."""
    assert old in sample(name)

    environment = read_text(name, sample(name).replace(old, new))

    lacking = [gap.item for gap in environment.gaps if gap.item.endswith(" hashes")]
    assert lacking
    assert all(not item.hashes for item in environment.distributions or () if f"{item.name} hashes" in lacking)


@pytest.mark.parametrize("size", ["-1", "9223372036854775808", '"9"', "1.5"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    error = refusal("uv.lock", UV.replace("size = 27697", f"size = {size}"))

    assert "size" in error.where


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("uv.lock", 'name = "widgets"\nversion = "8.1.2"', 'name = "numpy"\nversion = "1.26.4"', ""),
        ("poetry.lock", 'name = "numpy"\nversion = "1.26.4"', 'name = "colorama"\nversion = "0.4.6"', ""),
        ("Pipfile.lock", '"ours": {"editable": true, "path": "."}', '"numpy": {"version": "==1.0"}', "twice"),
        ("pdm.lock", 'name = "idna"\nversion = "3.7"', 'name = "fsspec"\nversion = "1.0"', ""),
        ("conda-linux-64.lock", "noarch/six-1.16.0-pyh6_0", "noarch/python-3.12.0-pyh6_0", "listed twice"),
        ("conda-list.txt", "_libgcc_mutex             0.1 ", "numpy                     0.1 ", "twice"),
        ("pip-list.txt", "Our_Tool ", "Numpy    ", "twice"),
    ],
)
def test_one_package_twice_is_refused_or_told_apart(name: str, old: str, new: str, told: str) -> None:
    """Of two versions of one thing, "the last one wins" is the wrong answer half of the time."""
    assert old in sample(name)
    text = sample(name).replace(old, new)

    if told:
        assert told in refusal(name, text).message
        return
    try:
        environment = read_text(name, text)
    except MalformedError:
        return
    pairs = [(item.name, item.marker) for item in environment.distributions or ()]
    assert len(set(pairs)) == len(pairs)


def test_two_versions_under_no_condition_are_refused_with_both() -> None:
    entry = UV[UV.index('[[package]]\nname = "numpy"') : UV.index('[[package]]\nname = "ours"')]
    twice = UV.replace(entry, entry + entry.replace("1.26.4", "2.0.0")).replace(
        '{ name = "tqdm" },\n]\n\n[package.optional',
        '{ name = "tqdm" },\n    { name = "numpy" },\n]\n\n[package.optional',
    )

    error = refusal("uv.lock", twice)

    assert "`numpy` twice, as 1.26.4 and as 2.0.0" in error.message


@pytest.mark.parametrize("name", [name for name in NAMES if name not in JSON and recognition.by_name(name)])
@pytest.mark.parametrize(
    "text", ["x = " + "[" * 50_000, "x: " + "[" * 50_000, "x = " + "9" * 5000, "x: !!python/tuple [1]"]
)
def test_depth_digits_and_tags_are_one_error_each(name: str, text: str) -> None:
    assert refusal(name, text).status is ExitStatus.MALFORMED


@pytest.mark.parametrize("name", ["Pipfile.lock", "sbom.cdx.json", "image.spdx.json"])
@pytest.mark.parametrize(
    "text", ['{"a": ' * 5000, '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "[]", "3"]
)
def test_json_with_surprises_is_one_error_each(name: str, text: str) -> None:
    assert refusal(name, text).status is ExitStatus.MALFORMED


@pytest.mark.parametrize(
    ("name", "old", "new", "where"),
    [
        ("conda-lock.yml", "version: '1.26.4'", "version: 1.26", "package[0].version"),
        ("environment.yml", "- python=3.11", "- 3.11", "dependencies[0]"),
        ("environment.yml", "- torch==2.3.0", "- on", "dependencies[4]"),
        ("python_env.yaml", "- setuptools", "- 3.10", "build_dependencies[1]"),
        ("cog.yaml", 'python_version: "3.11"', "python_version: 3.10", "build.python_version"),
        ("bentofile.yaml", 'python_version: "3.11"', "python_version: 3.10", "docker.python_version"),
        ("python_env.yaml", "python: 3.11.7", "python: 3.10", "python"),
    ],
)
def test_a_version_that_yaml_reads_as_a_number_is_refused_and_the_fix_is_named(
    name: str, old: str, new: str, where: str
) -> None:
    """YAML reads 3.10 as 3.1, and `on` as true: a version that nobody wrote."""
    assert old in sample(name)

    error = refusal(name, sample(name).replace(old, new, 1), **TARGET)

    assert where in error.where
    assert "quote it" in error.hint or "number" in error.message or "expected" in error.message


@pytest.mark.parametrize("version", ["3.9", "3.11", "3.12"])
def test_a_python_that_only_lacks_its_quotes_is_read(version: str) -> None:
    environment = read_text("cog.yaml", sample("cog.yaml").replace('"3.11"', version))

    assert environment.python is not None
    assert environment.python.specifier == f"=={version}.*"


def test_a_variable_stays_as_it_is_written() -> None:
    """What `${TOKEN}` is on the machine that reads must not get into anything that is written."""
    text = sample("environment.yml").replace("torch==2.3.0", "x @ https://${TOKEN}@files.example/x-1-py3-none-any.whl")

    assert "${TOKEN}" in codec.dump_environment(read_text("environment.yml", text)).decode()


def test_a_file_over_the_limit_of_its_kind_is_not_parsed(tmp_path: Path) -> None:
    for name in ("uv.lock", "requirements.txt", "MLmodel", "no-telling-name"):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(400 << 20)

        with pytest.raises(MalformedError, match="limit"):
            read(name, options=Options(base_dir=tmp_path))


def test_a_large_file_without_a_telling_name_is_held_to_the_limit_of_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(UV.encode() + b"#" * (17 << 20))

    with pytest.raises(MalformedError, match="a lock of uv"):
        read("x", options=Options(base_dir=tmp_path))


def test_the_error_of_a_reader_is_an_object_for_a_program() -> None:
    from envparity.report import errors

    error = refusal("uv.lock", UV.replace('name = "tqdm"', "name = 3"))

    assert json.loads(errors.json(error))["error"]["code"] == "malformed"
