"""
What somebody else's file may do to `lock`. The numbers are those of the list of faults, group B: each is refused before
anybody is asked, by one error that says what and where, and nothing is written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envparity.cli import cli
from envparity.errors import EnvparityError, RefusedError
from envparity.locking import stated
from envparity.locking.asked import Asked
from envparity.resolvers.for_place import Place
from tests.sources.reading import read_text
from tests.sources.samples import MD5, POETRY, UV, A, B

HASH = f"--hash=sha256:{A}"
PYLOCK = f"""\
lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "a"
version = "1"

[[packages.wheels]]
name = "a-1-py3-none-any.whl"
url = "https://files.example/a-1-py3-none-any.whl"
size = 9
hashes = {{ sha256 = "{A}" }}
"""


def conda_lock(platform: str = "linux-64", version: str = "3.11.7") -> str:
    url = f"https://conda.example/main/{platform}/python-3.11.7-h1_0.conda"
    return f"""\
version: 1
metadata:
  content_hash: {{{platform}: x}}
  channels: []
  platforms: [{platform}]
  sources: []
package:
- name: python
  version: {version}
  manager: conda
  platform: {platform}
  dependencies: {{}}
  url: {url}
  hash: {{md5: {MD5}, sha256: {A}}}
  category: main
  optional: false
"""


def bom(version: str = "1.6", *components: dict[str, object]) -> str:
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": version, "version": 1, "components": components})


def deep(levels: int) -> bytes:
    """An SBOM whose one component lies in another, and so on."""
    inner = '{"type": "library", "name": "a", "version": "1", "components": ['
    return (bom()[:-2] + inner * levels + "]}" * levels + "]}").encode()


MARKERS = " or ".join(["os_name == 'x'"] * 10_000)

FAULTS: dict[str, tuple[str, str | bytes, int, str]] = {
    "23 empty": ("requirements.txt", "", 2, "names no distribution"),
    "23 comments": ("requirements.txt", "# nothing\n", 2, "names no distribution"),
    "23 UTF-16": ("uv.lock", UV.encode("utf-16"), 4, "UTF-16"),
    "23 NUL": ("requirements.txt", b"a==1\0\n", 4, "binary data"),
    "24 requirements as a lock": ("uv.lock", "numpy==1.0\n", 4, "looks like a requirements file"),
    "24 a lock as requirements": ("requirements.txt", UV, 4, "looks like a lock of uv"),
    "25 conflict": ("poetry.lock", f"<<<<<<< HEAD\n{POETRY}=======\n>>>>>>> x\n", 4, "merge conflict"),
    "26 cut": ("poetry.lock", POETRY[: POETRY.index("[metadata]")], 4, "ends too early"),
    "27 no packages": ("pylock.x.toml", 'lock-version = "1.0"\ncreated-by = "uv"\n', 4, "Missing required"),
    "27 nothing": ("pylock.x.toml", 'lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n', 2, "names no"),
    "28 version": ("uv.lock", UV.replace("version = 1\n", "version = 9\n", 1), 2, "version 9 of its format"),
    "29 twice": ("requirements.txt", f"a==1 {HASH}\na==2 {HASH}\n", 4, "requirements.txt:2"),
    "30 one hash missing": ("requirements.txt", f"a==1 {HASH}\nb==1\n", 4, "requirements.txt:2"),
    "30 a hash cut": ("requirements.txt", f"a==1 {HASH[:-1]}\n", 4, "64 hexadecimal digits"),
    "31 one hash of two": ("requirements.txt", f"a==1 {HASH}\nb==1 {HASH}\n", 4, "one hash of `a` and of `b`"),
    "33 negative": ("uv.lock", UV.replace("size = 25335", "size = -1"), 4, "wheels[0].size"),
    "33 too large": ("uv.lock", UV.replace("size = 25335", f"size = {1 << 63}"), 4, "wheels[0].size"),
    "33 a text": ("uv.lock", UV.replace("size = 25335", 'size = "25335"'), 4, "wheels[0].size"),
    "33 of a pylock": ("pylock.x.toml", PYLOCK.replace("size = 9", "size = -1"), 4, "line 11, packages[0].wheels[0]"),
    "34 a circle": ("requirements.txt", "-r requirements.txt\n", 4, "in a circle"),
    "34 missing": ("requirements.txt", "-c missing.txt\na==1\n", 2, "requirements.txt:1"),
    "34 by URL": ("requirements.txt", "-r https://x.example/r.txt\n", 2, "including a URL"),
    "36 goes on": ("requirements.txt", f"a==1 \\\n  {HASH} \\", 3, "not whole"),
    "37 separator": ("requirements.txt", "a==1\u2028b==2\n", 4, "U+2028"),
    "37 next line": ("requirements.txt", "a==1\x85b==2\n", 4, "U+0085"),
    "37 tabulation": ("requirements.txt", "a==1\x0bb==2\n", 4, "U+000B"),
    "38 hostile": ("requirements.txt", "a==1; __import__('os') == 'x'\n", 4, "requirements.txt:1"),
    "38 unknown": ("requirements.txt", "a==1; nonsense == 'x'\n", 4, "requirements.txt:1"),
    "38 ten thousand": ("requirements.txt", f"a==1; {MARKERS}\n", 4, "characters"),
    "38 in a lock": ("poetry.lock", POETRY.replace('sys_platform == \\"win32\\"', "import os"), 4, "package[0]"),
    "39 deep": ("uv.lock", "a = " + "[" * 50_000, 4, "nested too deep"),
    "39 digits": ("Pipfile.lock", '{"_meta": ' + "9" * 5000 + "}", 4, "5000 digits"),
    "39 NaN": ("Pipfile.lock", '{"_meta": NaN}', 4, "NaN"),
    "39 twice": ("Pipfile.lock", '{"_meta": {}, "_meta": {}}', 4, "stands there twice"),
    "40 tag": ("environment.yml", "name: !!python/object/apply:os.system [id]\n", 4, "the tag"),
    "40 aliases": ("environment.yml", "a: &a [x]\nb: &b [*a, *a]\n" + "c: [*b, *b]\n" * 60_000, 4, "environment.yml"),
    "40 version": ("conda-lock.yml", conda_lock(version="3.10"), 4, "package[0].version"),
    "40 documents": ("environment.yml", "name: x\n---\nname: y\n", 4, "a single document"),
    "40 tabs": ("environment.yml", "name: x\ndependencies:\n\t- python\n", 4, "line 3"),
    "41 nested": ("environment.yml", "dependencies:\n- pip:\n  - [six]\n", 4, "dependencies[0]"),
    "41 for Windows": ("environment.yml", "dependencies:\n- python=3.11\n- pywin32=306\n", 2, "which builds"),
    "42 of macOS": ("conda-lock.yml", conda_lock("osx-64"), 2, "is for darwin x86_64"),
    "48 version": ("bom.cdx.json", bom("9.9"), 2, "CycloneDX 9.9"),
    "48 nothing": ("bom.cdx.json", bom(), 2, "names no distribution"),
    "48 nested": ("bom.cdx.json", deep(50_000), 4, "nested"),
    "48 tag-value": ("bom.spdx", "SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n", 2, "tag-value"),
}


def refused(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> EnvparityError:
    """What `envparity lock NAME` ends with, in that folder, where nobody may be asked."""
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(EnvparityError) as caught:
        cli.main(["lock", name, "-o", "pylock.out.toml", "--offline", *options], standalone_mode=False)

    assert sorted(path.name for path in folder.iterdir()) == before
    return caught.value


def told(error: EnvparityError) -> str:
    return f"{error} {error.hint} {' '.join(error.details)}"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_this_fault_is_refused_where_nobody_is_asked(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content, status, says = FAULTS[fault]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ("--python-version", "3.11") if name == "conda-lock.yml" else ()
    error = refused(tmp_path, name, monkeypatch, *options)

    assert (error.status, says in told(error)) == (status, True), told(error)
    assert name in told(error)
    assert error.hint


def test_31_several_hashes_of_one_distribution_are_its_files(tmp_path: Path) -> None:
    """The counterexample: a wheel and a source archive, or the wheels of several platforms."""
    environment = read_text("requirements.txt", f"a==1 {HASH} --hash=sha256:{B}\n")
    place = Place("3.11.7", "x86_64", "2.36", "debian:bookworm")
    (item,) = stated.holding(environment, place)

    assert len(item.hashes) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "--index-url https://ada:${TOKEN}@x.example/simple\na @ https://${TOKEN}@x.example/a.zip\n"),
        ("environment.yml", "channels: ['https://x.example/t/${TOKEN}/main']\ndependencies: [python=3.11, zlib]\n"),
    ],
)  # fmt: skip
def test_35_a_variable_is_never_expanded(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the variable holds here is a secret of whoever locks."""
    monkeypatch.setenv("TOKEN", "s3cret-canary")
    (tmp_path / name).write_text(text)
    error = refused(tmp_path, name, monkeypatch)

    assert "canary" not in told(error)
    assert "canary" not in repr(read_text(name, text))


@pytest.mark.parametrize("name", ["requirements.txt", "uv.lock", "conda-lock.yml", "pylock.x.toml", "bom.cdx.json"])
def test_43_a_file_that_is_larger_than_any_is_refused_before_it_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 MB on one line, of which the disk has nothing."""
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(400 << 20)
    error = refused(tmp_path, name, monkeypatch)

    assert error.status == 4
    assert "limit" in told(error)


def test_44_a_python_that_the_file_is_not_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv.lock").write_text(UV)
    error = refused(tmp_path, "uv.lock", monkeypatch, "--python-version", "3.9")

    assert error.status == 2
    assert "is for Python >=3.11, and not for 3.9" in told(error)


def test_47_requirements_given_to_build_are_refused_with_the_command_that_locks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvparityError) as caught:
        cli.main(["build", "requirements.txt", "--output", "oci:image"], standalone_mode=False)

    assert caught.value.status == 2
    assert "envparity lock requirements.txt" in told(caught.value)


def test_48_a_local_version_in_a_purl_and_one_that_is_none() -> None:
    good = {"type": "library", "name": "torch", "version": "2.1+cpu", "purl": "pkg:pypi/torch@2.1%2Bcpu"}
    environment = read_text("bom.cdx.json", bom("1.6", good, {"type": "library", "name": "b", "purl": "pkg:"}))

    assert [(item.name, item.version) for item in environment.distributions or ()] == [("torch", "2.1+cpu")]


def test_a_lock_that_has_other_versions_for_another_platform_is_refused_with_both() -> None:
    from tests.test_platforms import a_distribution, lock_for

    def lock(platform: str, version: str) -> object:
        import msgspec

        return lock_for(platform, msgspec.structs.replace(a_distribution("a"), version=version))

    with pytest.raises(RefusedError) as caught:
        stated.require_alike([lock("linux/amd64", "1"), lock("linux/arm64", "2")], "uv.lock")  # type: ignore[list-item]

    assert caught.value.details == ("a: 1 for linux/amd64, 2 for linux/arm64",)
    assert [*stated.platforms(Asked(platforms=("linux/arm64",)))] == ["linux/arm64"]
