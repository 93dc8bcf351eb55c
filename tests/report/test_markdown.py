"""The report as a comment on a pull request: it fits, it is read from its top, and no name of data becomes markup."""

from __future__ import annotations

import html
import re

from hypothesis import given
from markdown_it import MarkdownIt

from envparity.diff import between
from envparity.report import markdown
from envparity.report.text import printable
from envparity.values import Report
from tests.report.hostile import ATTACKS, HUGE, finding, hostile, large, report_of, texts
from tests.report.test_diff import SERVED, TRAINED

OWN = {"h3", "p", "code", "strong", "details", "summary", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
RENDERED = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(report: Report) -> str:
    return markdown.markdown(report)


def page(source: str) -> str:
    """What a browser gets."""
    return RENDERED.render(source)


def words(source: str) -> str:
    """What a person reads of a line of Markdown, without the spaces that have no width."""
    return html.unescape(re.sub(r"<[^>]*>", "", page(source))).replace("\u200b", "").strip()


def test_the_verdict_stands_first_and_what_matters_is_a_table() -> None:
    lines = shown(between(TRAINED, SERVED, labels=("model.env.json", "prod.txt"))).splitlines()

    assert lines[0].startswith("### ❌ DIFFERENT")
    assert "1 critical, of 132 differences" in lines[0]
    assert lines[2] == "<code>model.env.json</code> → <code>prod.txt</code>"
    assert lines[4] == "**To pass, serve with scikit-learn==1.4.2.**"
    assert lines[8].startswith(
        "| **critical** | <code>scikit-learn</code> <code>1.4.2 → 1.5.2</code> | **wrong answers, without an error"
    )
    assert "<summary>131 smaller differences</summary>" in lines


def test_every_row_of_the_page_has_the_columns_of_its_table() -> None:
    """A pipe in a name would move every cell after it."""
    for text in ATTACKS:
        rows = re.findall(r"<tr>(.*?)</tr>", page(shown(hostile(text))), re.DOTALL)

        assert {len(re.findall(r"<t[hd]\b", row)) for row in rows} == {5, 3}, text


def test_a_name_of_data_is_no_markup() -> None:
    """A distribution may be called anything, and the comment is written in the name of who runs the pipeline."""
    for text in ATTACKS:
        source = shown(hostile(text))

        tags = set(re.findall(r"<(/?[a-z0-9]+)", page(source)))
        assert {tag.removeprefix("/") for tag in tags} <= OWN, text
        assert len(re.findall("<h3>", page(source))) == 1, text


@given(texts)
def test_a_text_is_read_as_it_is_written(text: str) -> None:
    """The escape must not lose or change what a reader sees, or a name could be passed off as another."""
    seen = printable(text)

    assert words(f"x {markdown.escaped(seen)} x").split() == f"x {seen} x".replace("\u200b", "").split()
    assert words(f"x {markdown.code(seen)} x").split() == f"x {seen} x".split()


@given(texts)
def test_nobody_is_mentioned_and_nothing_is_referred_to(text: str) -> None:
    """Mentions are sought in the text of the finished page: outside of code an `@` must not touch a name."""
    finished = page(markdown.escaped(printable(text)))

    assert not re.search(r"@\w|#\w|\bgh-\d", html.unescape(re.sub(r"<[^>]*>", "", finished)), re.IGNORECASE)
    assert not re.search(r"https?:|www\.", markdown.escaped(printable(text)), re.IGNORECASE)


def test_an_address_is_a_link_only_where_it_is_one() -> None:
    good = finding("x")
    bad = hostile("javascript:alert(1)//https://x")

    assert "<javascript" not in shown(bad)
    assert "](<" not in shown(report_of(good))
    assert "[github.com](<https://github.com/" in shown(between(TRAINED, SERVED))


def test_a_hundred_thousand_findings_fit_and_are_counted() -> None:
    """A comment that is too long is refused, and then the pull request shows nothing at all."""
    source = shown(large())

    assert len(source.encode()) <= markdown.LIMIT
    (missing,) = re.findall(r"^([\d,]+) of 100,000 findings that matter are left out", source, re.MULTILINE)
    assert int(missing.replace(",", "")) + source.count("| **critical** |") == 100_000
    assert "100,000 facts compared. Exit status 1" in source


def test_a_name_of_a_megabyte_fits_and_is_said_to_be_long() -> None:
    source = shown(hostile(HUGE))

    assert len(source.encode()) <= markdown.LIMIT
    assert "… &#40;1,000,000 characters&#41;" in source


def test_parity_is_said_without_a_table() -> None:
    source = shown(between(TRAINED, TRAINED))

    assert source.startswith("### ✅ OK: no difference in 175 facts")
    assert "|" not in source


def test_no_answer_is_not_parity() -> None:
    source = shown(report_of(blocked=True))

    assert source.startswith("### ⚠️ INCOMPLETE: no answer")
    assert "could not be read" in source


def test_of_several_comparisons_the_one_that_fails_stands_first() -> None:
    same, other = between(TRAINED, TRAINED), between(TRAINED, SERVED)

    source = markdown.several((same, other))

    assert source.index("❌ DIFFERENT") < source.index("✅ OK")


def test_a_thousand_comparisons_fit_and_are_counted() -> None:
    source = markdown.several((large(300),) * 1_000)

    assert len(source.encode()) <= markdown.LIMIT
    (missing,) = re.findall(r"^(\d+) more comparisons left out", source, re.MULTILINE)
    assert int(missing) + source.count("❌ DIFFERENT") == 1_000
