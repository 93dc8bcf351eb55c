"""YAML from anywhere is plain values within limits, or an error with its line."""

from __future__ import annotations

import pytest
import yaml

from envparity.codec import load_yaml
from envparity.errors import MalformedError


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", "is there twice"),
        ("a: {b: 1, c: [d, {e: 1, e: 2}]}\n", "is there twice"),
        ("a: 1\n---\nb: 2\n", "single document"),
        ("a: !!python/object/apply:os.system [ls]\n", "not one of plain YAML"),
        ("a: !!python/name:os.system ''\n", "not one of plain YAML"),
        ("!!set {a, b}\n", "not one of plain YAML"),
        ("[" * 50 + "]" * 50, "levels deep"),
        ("a: [1\n", "expected"),
        ("a:\n\t- b\n", "cannot start any token"),
        ("? [a, b]\n: c\n", "a key must be a text"),
        ("base: {a: 1}\nb: {<<: {a: 2}}\n", "merge keys"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> main\n", "merge conflict"),
        ("a: *b\nb: &b 1\n", "alias"),
        ("a: &a [*a]\n", "alias"),
        ("a: 1\nb: \x00\n", "NUL"),
    ],
)
def test_yaml_with_surprises_is_refused_with_its_line(text: str, said: str, foreign: bool) -> None:
    with pytest.raises(MalformedError) as caught:
        load_yaml(text.encode(), "mine.yaml", foreign=foreign)

    assert said in caught.value.message
    assert "line" in caught.value.where


def test_twenty_thousand_levels_are_refused_at_once() -> None:
    with pytest.raises(MalformedError, match=r"deep|nesting"):
        load_yaml(b"[" * 20_000, "mine.yaml")


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x\n", "on: 1\n", "1: a\n"])
def test_what_only_other_tools_write_is_refused_in_files_of_ours(text: str) -> None:
    with pytest.raises(MalformedError):
        load_yaml(text.encode(), "mine.yaml")

    assert load_yaml(text.encode(), "theirs.yaml", foreign=True)


def test_an_alias_bomb_is_refused_before_it_is_built() -> None:
    """237 bytes that are megabytes of JSON: whoever reads the file must not pay for it."""
    text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    text += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))

    with pytest.raises(MalformedError, match="aliases repeat more than"):
        load_yaml(text.encode(), "bomb.yaml", foreign=True)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a: \xff", "not UTF-8"),
        ("a: b\n".encode("utf-16"), "UTF-16"),
        ("a: b\n".encode("utf-16-le"), "NUL"),
        (b"a: " + b"9" * 5000, "not valid YAML"),
        (b"a: " + b"b" * 100, "limit"),
    ],
)
def test_yaml_that_is_no_text_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        load_yaml(data, "mine.yaml", limit=50 if told == "limit" else 1 << 20)


def test_only_plain_types_are_made_and_dates_stay_text() -> None:
    text = """
    texts: [1.2.3, "3.10", 'no', 2024-12-06, "", =, 1:2:x]
    numbers: [1, -2, 0x10, 3.10, 1e3, .inf]
    truths: [yes, no, on, off, true]
    nothing: [null, ~, ]
    folded: >
      one
      two
    explicit: [!!str 3.10, !!int "3"]
    """

    value = load_yaml(text.encode(), "x")

    assert value["texts"] == ["1.2.3", "3.10", "no", "2024-12-06", "", "=", "1:2:x"]
    assert value["numbers"] == [1, -2, 16, 3.1, "1e3", float("inf")]
    assert value["truths"] == [True, False, True, False, True]
    assert value["nothing"] == [None, None]
    assert value["folded"] == "one two\n"
    assert value["explicit"] == ["3.10", 3]


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff", "---\n"])
def test_a_document_of_nothing_is_nothing(text: str) -> None:
    assert load_yaml(text.encode(), "x") is None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_change_nothing(newline: str) -> None:
    text = newline.join(["\ufeffa: 1", "b:", "- x", "- |", "  y", "  z", ""])

    assert load_yaml(text.encode(), "x") == {"a": 1, "b": ["x", "y\nz\n"]}


def test_what_it_makes_of_plain_documents_is_what_pyyaml_makes() -> None:
    """The builder is ours; the language is not."""
    text = """
    a: {b: [1, 2.5, x], c: "q\\n", d: 'it''s', e: |+
        kept

    }
    """.replace("e: |+\n        kept\n\n    ", "e: 0")
    documents = [text, "- a\n- - b\n  - {c: d}\n-\n", "x: &a [1, 2]\ny: *a\n", "'1': one\n"]

    for document in documents:
        assert load_yaml(document.encode(), "x", foreign=True) == yaml.safe_load(document)
