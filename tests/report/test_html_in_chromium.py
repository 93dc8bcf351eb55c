"""The page in a real browser: it filters, asks nobody, runs no name of data; a keyboard and a phone are enough."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from envparity.diff import between
from envparity.report import html
from envparity.values import Report, Severity
from tests.report.hostile import ATTACKS, finding, hostile, report_of
from tests.report.test_diff import SERVED, TRAINED

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the page in a browser: there is no chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a report. When the test ends, nothing may have been asked of a network or complained about."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(report: Report, width: int = 1280, **options: object) -> Page:
        file = tmp_path / "report.html"
        file.write_text(html.html(report), "utf-8")
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith("file://")] == []


def rows(page: Page) -> list[str]:
    return [row.get_attribute("data-severity") or "" for row in page.locator("tbody tr:visible").all()]


def test_the_search_shows_the_rows_with_all_its_words(opened: Open) -> None:
    page = opened(between(TRAINED, SERVED))
    assert len(rows(page)) == 132

    page.get_by_role("searchbox", name="Search").fill("IDF scikit")

    assert rows(page) == ["critical"]
    expect(page.get_by_role("status")).to_have_text("1 of 132 differences shown")
    page.get_by_role("searchbox", name="Search").fill("nothing like this")
    assert rows(page) == []


def test_the_boxes_of_severity_and_the_two_lists_filter(opened: Open) -> None:
    page = opened(between(TRAINED, SERVED))

    page.get_by_role("checkbox", name="medium (90)").uncheck()
    assert sorted(set(rows(page))) == ["critical", "info"]

    page.get_by_role("combobox", name="What it may do").select_option("other answers, without an error")
    assert rows(page) == ["critical"]

    page.get_by_role("checkbox", name="medium (90)").check()
    page.get_by_role("combobox", name="What it may do").select_option("all effects")
    page.get_by_role("combobox", name="Part of the environment").select_option("OS packages")
    assert rows(page) == ["medium"] * 90


@pytest.mark.parametrize("text", ATTACKS)
def test_a_hostile_name_is_shown_as_text_and_runs_nothing(opened: Open, text: str) -> None:
    page = opened(report_of(*(finding(text, severity) for severity in (*Severity, *Severity)), text=text))

    assert page.evaluate("document.title").startswith("No, not like this")
    assert page.locator("script").count() == 1
    assert page.locator("img, svg, iframe").count() == 0
    expect(page.get_by_role("status")).to_have_text("10 of 10 differences shown")


def test_the_keyboard_reaches_the_filter_and_what_is_folded(opened: Open) -> None:
    page = opened(between(TRAINED, SERVED))
    passed = []
    for _ in range(20):
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if passed[-1] == "search":
            break

    assert passed == ["A", "SUMMARY", "SUMMARY", "search"]
    page.keyboard.type("scikit")
    assert rows(page) == ["critical"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("sklearn-tfidf-idf-lost")).to_be_visible()


def test_a_screen_reader_finds_its_landmarks_and_the_headings_in_order(opened: Open) -> None:
    page = opened(between(TRAINED, SERVED))

    for role in ("banner", "main", "contentinfo", "search"):
        expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unlabelled = "[...document.querySelectorAll('input,select')].filter((each) => !each.labels.length).length"
    assert page.evaluate(unlabelled) == 0
    expect(page.get_by_role("table", name="The two environments, layer by layer")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("report", [between(TRAINED, SERVED), hostile("x" * 5_000), report_of(blocked=True)])
def test_a_phone_shows_it_without_scrolling_sideways(opened: Open, report: Report, scheme: str) -> None:
    page = opened(report, 390, color_scheme=scheme)

    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_dark_is_dark(opened: Open) -> None:
    background = "getComputedStyle(document.body).backgroundColor"

    assert opened(between(TRAINED, SERVED), color_scheme="light").evaluate(background) == "rgb(255, 255, 255)"
    assert opened(between(TRAINED, SERVED), color_scheme="dark").evaluate(background) == "rgb(20, 23, 27)"


def test_without_scripts_every_row_is_there_and_no_filter_that_does_nothing(opened: Open) -> None:
    page = opened(between(TRAINED, SERVED), java_script_enabled=False)

    assert page.locator("tbody tr:visible").count() == 132
    expect(page.locator("form.filter")).to_be_hidden()


def test_on_paper_the_proofs_are_open_and_the_filter_is_gone(opened: Open) -> None:
    page = opened(between(TRAINED, SERVED))
    page.emulate_media(media="print")

    expect(page.get_by_text("sklearn-tfidf-idf-lost")).to_be_visible()
    expect(page.locator("form.filter")).to_be_hidden()
