"""What is read of a page: of one version its files, however they are spelled, and all that there are of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from packaging.version import InvalidVersion, Version

from envparity.network import Response
from envparity.resolvers import simple
from envparity.resolvers.matching import is_sdist_of, wheels_of

NUMBERS = some.sampled_from(["0", "1", "01", "10", "2", "26", "026", "2024"])
RELEASES = some.lists(NUMBERS, min_size=1, max_size=4).map(".".join)
SPELLED = some.tuples(
    some.sampled_from(["", "", "", "v", "1!", "V"]),
    RELEASES,
    some.sampled_from(["", "", "", "rc1", ".post1", ".dev0", "a2", "+local", "+cu121.1"]),
).map("".join)
FILES = some.tuples(
    SPELLED,
    some.sampled_from(["demo-{}-py3-none-any.whl", "demo-{}-1-cp311-cp311-linux_x86_64.whl", "demo-{}.tar.gz"]),
).map(lambda file: file[1].format(file[0]))


def response(form: str, names: list[str]) -> Response:
    files = [{"filename": name, "url": f"f/{name}", "hashes": {"sha256": "a" * 64}, "size": 1} for name in names]
    if form == "json":
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files}).encode()
        return Response("https://x/simple/demo/", 200, {"content-type": simple.JSON}, body)
    links = "".join(f'<a href="f/{name}#sha256={"a" * 64}">{name}</a>\n' for name in names)
    return Response("https://x/simple/demo/", 200, {"content-type": "text/html"}, f"<html>{links}</html>".encode())


def of_version(page: simple.Page, version: Version) -> list[simple.IndexFile]:
    wheels = [file for file, _, _ in wheels_of("demo", version, page.files)]
    return wheels + [file for file in page.files if is_sdist_of(file.filename, "demo", version)]


@given(SPELLED, some.lists(FILES, min_size=1, max_size=8, unique=True), some.sampled_from(["json", "html"]))
@example("1.0", ["demo-1-py3-none-any.whl", "demo-01.0.0.tar.gz", "demo-v1.0-py3-none-any.whl"], "json")
@example("2022.6.15", ["demo-2022.06.15.tar.gz", "demo-2022.6.15-py3-none-any.whl"], "json")
def test_of_a_version_every_file_is_there_that_the_whole_page_has(spelled: str, names: list[str], form: str) -> None:
    """A file that is passed over here would be a wheel that is said not to exist, or an ambiguity that nobody sees."""
    try:
        version = Version(spelled)
    except InvalidVersion:
        return
    whole, part = simple.page(response(form, names), "demo"), simple.page(response(form, names), "demo", version)

    assert of_version(part, version) == of_version(whole, version)
    assert all(file in whole.files for file in part.files)


def test_of_thousands_of_versions_only_the_one_is_read() -> None:
    names = [f"demo-{major}.{minor}-py3-none-any.whl" for major in range(40) for minor in range(40)]

    page = simple.page(response("json", names), "demo", Version("4.12"))

    assert [file.filename for file in page.files] == ["demo-4.12-py3-none-any.whl"]


def test_a_name_of_endless_digits_is_passed_over() -> None:
    """Python refuses to make a number of it."""
    names = [f"demo-{'7' * 10_000}.tar.gz", "demo-1.0.tar.gz"]

    assert len(simple.page(response("json", names), "demo", Version("1.0")).files) == 1


METADATA = "b" * 64


@pytest.mark.parametrize(
    ("given", "sha256"),
    [
        ({"core-metadata": {"sha256": METADATA}}, METADATA),
        ({"dist-info-metadata": {"sha256": METADATA}}, METADATA),
        ({"core-metadata": {"sha256": METADATA}, "dist-info-metadata": {"sha256": "c" * 64}}, METADATA),
        ({"core-metadata": False, "dist-info-metadata": {"sha256": METADATA}}, ""),
        ({"core-metadata": True}, ""),
        ({"core-metadata": {}}, ""),
        ({"core-metadata": {"sha256": "short"}}, ""),
        ({}, ""),
    ],
)
def test_the_hash_of_the_metadata_is_read_under_its_new_name_and_else_under_the_old(
    given: dict[str, object], sha256: str
) -> None:
    """PEP 714: the old name was served wrongly by many, so the new one counts where it is there."""
    file = {"filename": "demo-1-py3-none-any.whl", "url": "f", "hashes": {"sha256": "a" * 64}, **given}
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": [file]}).encode()

    (found,) = simple.page(Response("https://x/demo/", 200, {"content-type": simple.JSON}, body), "demo").files

    assert found.metadata_sha256 == sha256


@pytest.mark.parametrize(
    ("attributes", "sha256", "yanked"),
    [
        (f'data-core-metadata="sha256={METADATA}"', METADATA, None),
        (f'data-dist-info-metadata="sha256={METADATA}" data-yanked', METADATA, "no reason given"),
        (f'data-core-metadata="false" data-dist-info-metadata="sha256={METADATA}"', "", None),
        ('data-core-metadata="true" data-yanked="broken &amp; gone"', "", "broken & gone"),
        ("data-core-metadata", "", None),
        ('data-yanked=""', "", "no reason given"),
        ("", "", None),
    ],
)
def test_html_says_what_lies_beside_a_file_and_whether_it_was_taken_back(
    attributes: str, sha256: str, yanked: str | None
) -> None:
    """As PyPI, devpi and pypiserver write it (PEP 592, PEP 658, PEP 714)."""
    body = f'<!DOCTYPE html><a href="f#sha256={"a" * 64}" {attributes}>demo-1-py3-none-any.whl</a>'.encode()

    (found,) = simple.page(Response("https://x/demo/", 200, {"content-type": "text/html"}, body), "demo").files

    assert (found.metadata_sha256, simple.yanked(found.yanked)) == (sha256, yanked)
