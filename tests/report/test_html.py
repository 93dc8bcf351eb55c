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
from envparity.values import Basis, Distribution, Environment, Gap, GapKind, Origin, Python, Severity
from tests.report.hostile import ATTACKS, HUGE, finding, hostile, large, report_of, texts
from tests.report.test_diff import MODEL, SERVED, TRAINED

SNAPSHOT = Environment(
    origin=Origin(kind="live", reference="venv:training", taken_at="2026-11-20T08:00:00Z"),
    python=Python(version="3.11.7"),
    distributions=tuple(
        Distribution(name=name, version=version)
        for name, version in (
            ("scikit-learn", "1.4.2"),
            ("numpy", "1.26.4"),
            ("joblib", "1.4.2"),
            ("scipy", "1.13.0"),
            *((f"tool-{number}", "1.0") for number in range(8)),
        )
    ),
    artifacts=(MODEL,),
)
UNSAID = ("python", "system", "cpu", "accelerators", "os_packages", "native_libraries", "settings", "artifacts")
LIST = Environment(
    origin=Origin(kind="requirements", reference="prod.txt", taken_at="2026-11-26T09:00:00Z"),
    distributions=tuple(
        Distribution(name=name, basis=Basis.DECLARED, version=version)
        for name, version in (("scikit-learn", "1.5.2"), ("numpy", "1.26.4"), ("joblib", "1.4.2"))
    ),
    gaps=tuple(Gap(section=name, kind=GapKind.NOT_RECORDED, reason="a list cannot carry it") for name in UNSAID),
    open=True,
)
FILES = ("model.env.json", "prod.txt")


def read(source: str) -> str:
    """What a person reads of a page, without its style and script, in one line."""
    text = re.sub(r"(?s)<(style|script)>.*?</\1>", "", source)
    return " ".join(Page(text).text.split())


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
    """What a page is made of, but for the values of a filter, and for what is typed: it is in the letters of code."""
    return [(tag, tuple(sorted(attributes))) for tag, attributes in Page(source).tags if tag not in {"option", "code"}]


def test_the_page_answers_may_it_why_not_what_to_do_and_by_whom() -> None:
    text = Page(html.html(between(TRAINED, SERVED))).text.partition("To the content")[2]

    answers = (
        "May this model go to production?",
        "No, not like this",
        "1 critical difference, of 132 that were found. It can hurt the model.",
        "Not known of prod: model and data files.",
        "lose their IDF weights",
        "Either serve with scikit-learn 1.4.2 (the smallest change; then nothing else fails). By whoever keeps the ",
        "Or train again with 1.5.2. By whoever trains the model",
        "107 of 1,000 labels flip",
        "42 libraries",
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
    assert "<h3>14 libraries</h3>" in cards
    assert all(f"install {name}<" in cards for name in names)


def test_of_a_list_the_page_says_how_far_its_answer_reaches_and_what_would_cover_more() -> None:
    """Three of five libraries agree, and nobody has looked at the Python: a reader must not take that for all of it."""
    text = read(html.html(between(SNAPSHOT, LIST, labels=FILES)))

    assert (
        "Not known of prod.txt: Python, 9 libraries (scipy, tool-0, tool-1 and 6 more), model and data files." in text
    )
    assert text.count("run envparity snapshot there") == 1
    assert "The smallest change: serve with scikit-learn==1.4.2. After it the answer is: Yes, as far as it is" in text


def test_each_way_out_has_who_goes_it_and_one_is_the_smallest() -> None:
    text = read(html.html(between(SNAPSHOT, LIST, labels=FILES)))

    assert (
        "Either serve with scikit-learn 1.4.2 (the smallest change; then nothing else fails). By whoever keeps " in text
    )
    assert "nothing else fails). By whoever keeps prod.txt. Or train again with 1.5.2. By whoever trains" in text
    assert text.count("smallest change;") == 1


def test_the_model_the_sides_and_their_days_stand_in_the_head() -> None:
    head = html.html(between(SNAPSHOT, LIST, labels=FILES)).partition("</header>")[0]

    assert re.search(r"model ?m\.joblib", read(head))
    assert "model.env.json (an environment, recorded on 2026-11-20)" in read(head)
    assert "prod.txt (a requirements file, read on 2026-11-26)" in read(head)


def test_what_is_equal_is_listed_and_what_one_side_does_not_say_is_one_line() -> None:
    source = html.html(between(SNAPSHOT, LIST, labels=FILES))

    assert "Of 3 libraries on both sides, 2 are the same joblib 1.4.2, numpy 1.26.4" in read(source)
    assert "Not compared, since one side does not say: Model, Python" in read(source)
    assert source.count('<div class="stack-row differs critical"') == 1
    assert source.count('<div class="stack-row unknown') == 0


def test_what_a_card_tells_is_not_told_again_and_is_not_searched() -> None:
    """A form and a table with one row, the one that was just read."""
    text = html.html(between(SNAPSHOT, LIST, labels=FILES))

    assert text.count("lose their IDF weights") == 1
    assert "<form" not in text
    assert "<table" not in text


def test_few_differences_that_have_no_card_are_a_table_without_a_search() -> None:
    small = msgspec.structs.replace(finding("pytz", Severity.LOW), reason="It is another one.")

    source = html.html(report_of(finding("numpy"), small))

    assert "Smaller differences" in source
    assert source.count("<tr role=") == 2
    assert "<form" not in source


def test_six_differences_are_all_in_the_table_and_can_be_searched() -> None:
    source = html.html(report_of(*(finding(f"package-{number}") for number in range(6))))

    assert "<form" in source
    assert source.count("<tr role=") == 7


def test_what_a_list_leaves_out_can_be_opened() -> None:
    """`and 7 more` sends a reader to look for them, and there must be a place."""
    source = html.html(between(SNAPSHOT, LIST, labels=FILES))

    (opened,) = re.findall(r"<details><summary><strong>prod.txt: 9 libraries.*?</details>", source)
    assert "and 6 more" in opened.partition("</summary>")[0]
    assert all(f"tool-{number}" in opened.partition("</summary>")[2] for number in range(8))


def test_whether_it_was_measured_is_read_without_a_click_and_explained_where_it_is_used() -> None:
    source = html.html(between(SNAPSHOT, LIST, labels=FILES))

    card = source.partition('<ol class="reasons">')[2].partition("<details>")[0]
    assert "<strong>measured</strong> (2026-11-26): a text classifier of 1.2.2 to 1.4.2" in card
    assert "<dt>measured</dt>" in source
    assert "<dt>measured</dt>" not in html.html(between(TRAINED, TRAINED))
    assert "What the words mean" not in html.html(between(TRAINED, TRAINED))


def test_what_is_typed_is_in_the_letters_of_code_and_not_broken_where_it_is_short() -> None:
    long = "x" * 40
    said = msgspec.structs.replace(
        finding("numpy"), reason=f"Take it by `snapshot.take`, or with --deep; a pre--release and `{long}` are another."
    )

    source = html.html(report_of(said))

    assert (
        'by <code class="whole">snapshot.take</code>, or with <code class="whole">--deep</code>; a pre--rel' in source
    )
    assert f"<code>{long}</code>" in source


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        (SNAPSHOT, SNAPSHOT, "Yes"),
        (LIST, LIST, "Yes, as far as it is known"),
        (
            msgspec.structs.replace(SNAPSHOT, artifacts=()),
            msgspec.structs.replace(SNAPSHOT, python=None),
            "Yes, as far as it is known",
        ),
    ],
)
def test_a_yes_says_whether_it_is_about_all_of_it(before: Environment, after: Environment, answer: str) -> None:
    (word,) = re.findall('<p class="word">(.*?)</p>', html.html(between(before, after)))

    assert word == answer


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
