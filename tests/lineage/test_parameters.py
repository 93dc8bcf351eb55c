"""Parameters: every form in which they are given, and none of the secrets among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from envparity.errors import EnvparityError, MalformedError, UsageError
from envparity.lineage.parameters import is_secret, parameters


def read(given: Sequence[str] | Mapping[str, Any], folder: Path = Path()) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters by name, and the reasons of the gaps by item."""
    facts = list(parameters(given, folder))
    gaps = {fact["item"]: fact["reason"] for fact in facts if fact["kind"] == "gap"}
    pairs = [pair for fact in facts if fact["kind"] == "source-code" for pair in fact["parameters"]]
    return {pair["name"]: pair["value"] for pair in pairs}, gaps


def test_texts_are_taken_as_they_are_written() -> None:
    assert read(["lr=1e-3", "name=a=b", "empty=", "seed=042"]) == (
        {"lr": "1e-3", "name": "a=b", "empty": "", "seed": "042"},
        {},
    )


@pytest.mark.parametrize("name", ["params.yaml", "params.json"])
def test_a_file_is_flattened_and_a_single_text_overrides_it(name: str, tmp_path: Path) -> None:
    texts = {
        "params.yaml": "optimizer:\n  lr: 0.001\n  betas: [0.9, 0.999]\nversion: '3.10'\nshuffle: true\nnote: null\n",
        "params.json": '{"optimizer": {"lr": 0.001, "betas": [0.9, 0.999]}, "version": "3.10", "shuffle": true,'
        ' "note": null}',
    }
    (tmp_path / name).write_text(texts[name])

    values, gaps = read(["shuffle=false", f"@{name}"], tmp_path)

    assert values == {
        "optimizer.lr": "0.001",
        "optimizer.betas": "[0.9, 0.999]",
        "version": "3.10",
        "shuffle": "false",
        "note": "null",
    }
    assert gaps == {}


def test_a_mapping_of_a_running_process_is_taken_by_its_values() -> None:
    class Other:
        def __str__(self) -> str:
            return "other"

    class Number(float):  # as numpy's float64 is
        def __repr__(self) -> str:
            return "np.float64(0.5)"

    given = {"a": {"b": 1, 2: Number(0.5)}, "c": Path("x"), "d": Other(), "e": (1, None), "f": {}}

    assert read(given)[0] == {"a.b": "1", "a.2": "0.5", "c": "x", "d": "other", "e": "[1, null]", "f": "{}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "1234"),
        ("db.password", "x"),
        ("dbPassword", "x"),
        ("HF_TOKEN", "x"),
        ("token", "x"),
        ("api_key", "7"),
        ("apiKey", "x"),
        ("aws_secret_access_key", "x"),
        ("key", "x"),
        ("Authorization", "x"),
        ("note", "hf_abcdefgh"),
        ("note", "-----BEGIN PRIVATE KEY-----"),
        ("note", "ghp_012345"),
    ],
)
def test_what_may_be_a_secret_keeps_its_name_and_nothing_else(name: str, value: str) -> None:
    values, gaps = read({name: value})

    assert values == {}
    assert gaps == {name: "its name or form speaks of a secret: its value is not kept"}


@pytest.mark.parametrize(
    "value",
    [
        [{"host": "x", "password": "canary"}],
        [["a", {"b": {"api_key": "canary"}}]],
        ({"secret": ["canary", 1]},),
        ["--lr", "0.1", "--token", "canary"],
        ["--token=canary"],
        '{"db": {"password": "canary"}}',
        json.dumps([json.dumps({"password": "canary"})]),
        "train.py --lr 0.1 --auth-token canary",
        "lr: 0.1\npassword: canary\n",
        "host=x;Password=canary",
        ["hf_canary", "b"],
        "at s3://bucket/x with secret = canary",
        "outer: token=canary",
        {"deep": [{"a": [{"b": [{"token": "canary"}]}]}]},
    ],
)
def test_a_secret_inside_a_list_or_a_text_is_as_secret_as_one_by_itself(value: Any) -> None:
    """Arguments of a command, a connection string, a document in a document: wherever people put their passwords."""
    values, gaps = read({"given": value})

    assert "canary" not in repr((values, gaps))
    assert list(gaps.values()) == ["its name or form speaks of a secret: its value is not kept"]


def test_a_secret_below_the_depth_that_is_flattened_is_found(tmp_path: Path) -> None:
    nested: dict[str, Any] = {"password": "canary"}
    for _ in range(30):
        nested = {"a": nested}
    (tmp_path / "deep.json").write_text(json.dumps(nested))

    assert "canary" not in repr(read(["@deep.json"], tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", "512"),
        ("tokenizer", "bert-base-cased"),
        ("key_dim", "64"),
        ("author", "Ada"),
        ("monkey", "x"),
        ("compass", "north"),
        ("passes", "3"),
        ("keyboard", "x"),
        ("prompt", "classify each token, and pass the key on"),
        ("command", "train.py --lr 0.1 --max-tokens 512 --key-dim 64"),
        ("layers", '[{"units": 64, "activation": "relu"}, {"key_dim": 64}]'),
        ("betas", "[0.9, 0.999]"),
        ("step", "tokenize: bert"),
    ],
)
def test_an_innocent_parameter_is_kept(name: str, value: str) -> None:
    assert not is_secret(name, value)


def test_an_address_loses_its_credentials_and_a_book_is_no_parameter() -> None:
    values, gaps = read({"store": "at s3://ada:canary@bucket/x and https://x.example/?sig=canary", "book": "x" * 5000})

    assert values == {"store": "at s3://bucket/x and https://x.example/?sig=***"}
    assert gaps == {"book": "its value is longer than 4096 characters"}


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        (["canary"], UsageError, "KEY=VALUE"),
        (["=x"], UsageError, "KEY=VALUE"),
        (["a=1", "a=2"], UsageError, "`a` is given twice"),
        (["@"], UsageError, "names no file"),
        (["@absent.yaml"], EnvparityError, "absent.yaml"),
        (["@list.yaml"], UsageError, "no names with values"),
        (["@twice.yaml"], MalformedError, "twice"),
        (["@bad.json"], MalformedError, "bad.json"),
        ({str(number): 1 for number in range(2001)}, UsageError, "2001 parameters"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_repeated(
    given: Any, kind: type[EnvparityError], says: str, tmp_path: Path
) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "twice.yaml").write_text("a: 1\na: 2\n")
    (tmp_path / "bad.json").write_text("{")

    with pytest.raises(kind, match=says) as raised:
        read(given, tmp_path)

    assert "canary" not in str(raised.value)


def test_an_empty_file_has_no_parameters(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")

    assert read(["@empty.yaml"], tmp_path) == ({}, {})
