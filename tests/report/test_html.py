"""The page for people of other trades: what it says, that it is whole by itself, and that no name of data is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given

from envparity import resources
from envparity.diff import between
from envparity.report import html
from envparity.report.text import printable
from tests.report.hostile import ATTACKS, HUGE, finding, hostile, large, report_of, texts
from tests.report.test_diff import SERVED, TRAINED


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text, as a browser takes it apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def shape(source: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(sorted(attributes))) for tag, attributes in Page(source).tags if tag != "option"]


def test_the_page_answers_may_it_why_not_what_to_do_and_by_whom() -> None:
    text = Page(html.html(between(TRAINED, SERVED))).text.partition("To the content")[2]

    answers = (
        "May this model go to production?",
        "No, not like this",
        "1 difference of 132 can hurt the model: it is high or worse.",
        "lose their IDF weights",
        "serve with scikit-learn 1.4.2, or train again with 1.5.2",
        "whoever keeps the requirements or the image of production; or whoever trains the model",
        "214 of 1,000 labels flip",
        "42 distributions",
    )
    places = [text.find(answer) for answer in answers]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("report", "answer"),
    [
        (between(TRAINED, TRAINED), "Yes"),
        (between(TRAINED, SERVED), "No, not like this"),
        (report_of(blocked=True), "Nobody can say yet"),
    ],
)
def test_there_are_three_answers(report: object, answer: str) -> None:
    """What could not be read is no yes."""
    (word,) = re.findall('<p class="word">(.*?)</p>', html.html(report))  # type: ignore[arg-type]

    assert word == answer


def test_what_matters_and_does_not_decide_is_told_from_what_does() -> None:
    """Somebody who reads "why not" must not send a team after what nobody asked for."""
    source = html.html(hostile("x"))

    cards = re.findall('<li class="(\\w+)">(.*?)</li>\n', source, re.DOTALL)
    assert {severity: "does not decide" in card for severity, card in cards if "badge" in card} == {
        "critical": False,
        "high": False,
        "medium": True,
    }


def test_what_is_said_of_several_items_is_said_once() -> None:
    """Fourteen equal cards hide the fifteenth, which is another one."""
    plain = {"reason": "It is gone.", "evidence": (), "also": (), "rule": "", "policy": ""}
    names = [f"package-{number}" for number in range(14)]
    same = [msgspec.structs.replace(finding(name), fix=f"install {name}", **plain) for name in names]

    source = html.html(report_of(*same, finding("another")))

    cards = source.partition('<ol class="reasons">')[2].partition("</ol>")[0]
    assert cards.count("<h3>") == 2
    assert "<h3>14 distributions</h3>" in cards
    assert all(f"install {name}<" in cards for name in names)


def test_the_page_is_whole_by_itself() -> None:
    """It is opened from a mail, in a train: what it needed from a network would be missing."""
    page = Page(html.html(between(TRAINED, SERVED)))

    assert not [tag for tag, attributes in page.tags if "src" in attributes or tag in {"link", "iframe", "img", "base"}]
    assert {tag for tag, attributes in page.tags if "href" in attributes} == {"a"}
    assert "url(" not in resources.templates().joinpath("report", "diff.css").read_text("utf-8")
    assert "@import" not in resources.templates().joinpath("report", "diff.css").read_text("utf-8")


@pytest.mark.parametrize("text", ATTACKS)
def test_a_hostile_name_changes_no_element_of_the_page(text: str) -> None:
    assert shape(html.html(hostile(text))) == shape(html.html(hostile("harmless")))


@given(texts)
def test_a_text_is_read_as_it_is_written(text: str) -> None:
    source = html.html(report_of(text=text))

    assert printable(text).strip() in Page(source).text
    assert not re.search("[\ud800-\udfff]", source)


def test_only_its_own_style_and_script_run() -> None:
    """The escape is the first defence; a policy without `unsafe-inline` is the second."""
    source = html.html(between(TRAINED, SERVED))
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', source)

    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r'\s(?:on\w+|style)="', source)


def test_a_link_leads_only_where_a_reader_may_go() -> None:
    tags = Page(html.html(hostile("javascript:alert(1)"))).tags

    addresses = [attributes["href"] for _, attributes in tags if "href" in attributes]
    assert addresses == ["#content"]


def test_a_hundred_thousand_findings_are_counted() -> None:
    source = html.html(large())

    assert len(source) < 3_000_000
    assert "98,000 more differences left out here" in source
    assert "99,900 more differences that matter left out here" in source


def test_a_name_of_a_megabyte_is_cut_and_said_to_be_long() -> None:
    source = html.html(hostile(HUGE))

    assert len(source) < 200_000
    assert "(1,000,000 characters)" in source


def test_several_comparisons_are_one_page_and_the_one_that_fails_stands_first() -> None:
    source = html.several((between(TRAINED, TRAINED), between(TRAINED, SERVED)))

    assert source.count("<html") == 1
    assert re.findall('<p class="word">(.*?)</p>', source) == ["No, not like this", "Yes"]
    assert len(re.findall(' id="([^"]+)"', source)) == len(set(re.findall(' id="([^"]+)"', source)))


def luminance(colour: str) -> float:
    parts = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_colour_of_text_can_be_read_on_both_backgrounds(scheme: int) -> None:
    """WCAG 2 AA: 4.5 to 1, light and dark."""
    css = resources.templates().joinpath("report", "diff.css").read_text("utf-8")
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]))
    words = ("ink", "quiet", "link", "critical", "high", "medium", "low", "info", "good")

    for background in ("paper", "raised"):
        for word in words:
            lighter, darker = sorted((luminance(colours[word]), luminance(colours[background])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{word} on {background}"
