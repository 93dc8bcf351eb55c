"""Several reports of one comparison: which format goes where, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envparity.cli.wanted import wanted
from envparity.errors import UsageError
from tests.cli.conftest import World
from tests.commands import envparity, refused

OFFERED = ("text", "json", "markdown", "html", "sarif", "junit", "github")


@pytest.mark.parametrize(
    ("formats", "places", "expected"),
    [
        ("", "", "text:-"),
        ("json", "", "json:-"),
        ("", "out", "text:out"),
        ("", "-", "text:-"),
        ("json", "out", "json:out"),
        ("html markdown", "a b", "html:a markdown:b"),
        ("markdown html", "a.html b.md", "html:a.html markdown:b.md"),
        ("", "a.html b.sarif c.xml d.md e.json f.markdown", "html:a.html sarif:b.sarif junit:c.xml markdown:d.md "
         "json:e.json markdown:f.markdown"),
        ("text", "report.html", "html:report.html text:-"),
        ("text html", "report.html", "html:report.html text:-"),
        ("", "- report.HTML", "text:- html:report.HTML"),
        ("github", "- report.html", "github:- html:report.html"),
        ("sarif", "results.json", "sarif:results.json"),
        ("sarif json", "results.json", "json:results.json sarif:-"),
        ("markdown html", "x y.html", "markdown:x html:y.html"),
    ],
)  # fmt: skip
def test_an_output_takes_the_format_of_its_name_else_the_next_one(formats: str, places: str, expected: str) -> None:
    found = wanted(tuple(formats.split()), tuple(places.split()), OFFERED)

    assert " ".join(f"{form}:{place}" for form, place in found) == expected


@pytest.mark.parametrize(
    ("formats", "places", "says"),
    [
        ("text json", "", "two reports, text and json, would both go to standard output"),
        ("text text", "", "both go to standard output"),
        ("text json html", "report.html", "text and json, would both go to standard output"),
        ("json", "a b", "no format is left for `-o b`"),
        ("", "a b", "no format is left for `-o b`"),
        ("json html", "a ./a", "two reports, json and html, would both go to `./a`"),
        ("", "a.html a.html", "would both go to `a.html`"),
        ("json markdown", "- x.html", "both go to standard output"),
    ],
)
def test_what_would_end_in_one_place_or_in_none_is_refused(formats: str, places: str, says: str) -> None:
    """One report over another is found in production, by whoever looks for the first."""
    with pytest.raises(UsageError) as caught:
        wanted(tuple(formats.split()), tuple(places.split()), OFFERED)

    assert says in str(caught.value)
    assert caught.value.hint


def test_a_suffix_says_nothing_of_a_format_that_is_not_offered() -> None:
    assert wanted((), ("a.html",), ("text", "json")) == (("text", "a.html"),)


def test_several_formats_at_once(world: World, tmp_path: Path) -> None:
    done = envparity(
        *("diff", world.snapshot, world.snapshot, "--format", "text", "-o", "a.md", "-o", "a.json"), cwd=tmp_path
    )

    assert "OK: no difference in" in done.stdout
    assert "### ✅ OK: no difference in" in (tmp_path / "a.md").read_text("utf-8")
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["status"] == 0


def test_two_formats_to_one_standard_output_are_refused_before_any_work(tmp_path: Path) -> None:
    """The sides do not exist, and the error is about the formats."""
    both = ("--format", "text", "--format", "markdown")

    refused("diff", "absent", "absent", *both, status=2, says="would both go to standard output", cwd=tmp_path)


def test_several_comparisons_are_one_document(world: World) -> None:
    done = envparity("diff", world.snapshot, world.snapshot, world.snapshot, "--format", "json")

    assert [each["status"] for each in json.loads(done.stdout)] == [0, 0]


def test_many_comparisons_have_no_report_in_every_format(world: World) -> None:
    arguments = ("diff", world.snapshot, "--many", world.snapshot.parent, "--format", "sarif")

    refused(*arguments, status=2, says="`--many` has no report in sarif")


def test_a_default_of_the_settings_is_one_format_or_several(world: World, tmp_path: Path) -> None:
    for stated in ("github", "[github]"):
        (tmp_path / "envparity.yaml").write_text(f"options:\n  diff: {{format: {stated}}}\n", "utf-8")

        done = envparity("diff", world.snapshot, world.snapshot, cwd=tmp_path)

        assert done.stdout.startswith("::notice title=envparity diff::OK: no difference")


def test_a_finding_of_a_named_target_is_shown_at_the_line_of_its_file(world: World, tmp_path: Path) -> None:
    """A pipeline compares with `prod`; the annotation stands in the file that prod is made of."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "prod.txt").write_text("# what is served\ndemo==99\n", "utf-8")
    (tmp_path / "envparity.yaml").write_text("targets: {prod: deploy/prod.txt}\n", "utf-8")

    done = envparity(
        *("diff", world.snapshot, "prod", "--format", "github", "--fail-on", "low"), status=1, cwd=tmp_path
    )

    assert "::error file=deploy/prod.txt,line=2,title=" in done.stdout
