"""Rules for a person and for a program; each comes as plain data with the keys of the rules' own schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envparity.report.diff import encoded
from envparity.report.text import Style
from envparity.values import Severity
from envparity.words import counted

Told = Mapping[str, Any]


def several(rules: Sequence[Told], style: Style | None = None, *, verbose: bool = False) -> str:
    """A line each: severity, id, title; worst first. With `verbose` the title is not cut."""
    style = style or Style()
    lines = []
    for rule in rules:
        severity = Severity(rule["severity"])
        name = f"  {severity:<8} "
        rows = style.wrapped(f"{rule['id']}  {rule['title']}", first=name, indent=" " * len(name))
        if not verbose:
            rows = [style.clipped(f"{name}{style.plain(rule['id'])}  {style.plain(rule['title'])}")]
        rows[0] = f"{style.severity(severity, rows[0][: len(name)])}{rows[0][len(name) :]}"
        lines += rows
    measured = sum(any(proof["kind"] == "measured" for proof in rule["evidence"]) for rule in rules)
    lines.append(f"{counted(len(rules), 'rule')}, {measured} of them measured. `envparity explain RULE` prints one.")
    return "\n".join(lines) + "\n"


def one(rule: Told, style: Style | None = None, *, verbose: bool = False) -> str:
    """One rule in full."""
    style = style or Style()
    severity = Severity(rule["severity"])
    head = style.wrapped(rule["title"], first=f"{str(severity).upper()} ", indent=" " * 10)
    lines = [style.bold(line) for line in head]
    lines += style.wrapped(rule["reason"], first="  ", indent="  ")
    for label, text in _details(rule):
        lines += style.wrapped(text, first=f"  {label}", indent=" " * 12)
    return "\n".join(lines) + "\n"


def _details(rule: Told) -> Iterator[tuple[str, str]]:
    yield "rule", rule["id"]
    yield "effect", rule["effect"]
    yield "when", _when(rule["when"])
    if rule["model_refers_to"]:
        yield "model", f"it refers to one of: {', '.join(rule['model_refers_to'])}"
        for key, words in (("without_model", "where no model is known"), ("elsewhere", "for any other model")):
            if rule[key]:
                yield "", f"{words}: {rule[key]}"
    if rule["only_these"]:
        yield "model", f"of this library it uses nothing but: {', '.join(rule['only_these'])}"
    if rule["unverified"]:
        yield "careful", "nobody has looked up yet what this says"
    for proof in rule["evidence"]:
        yield proof["kind"], f"{proof['gist']} (read on {proof['read_on']})"
        if proof.get("cell"):
            yield "", f"cell {proof['cell']}"
        if proof["url"]:
            yield "", proof["url"]
    if rule["fix"]:
        yield "fix", rule["fix"]
    yield "example", _example(rule["example"])
    yield "not", _example(rule["counterexample"])


def _when(when: Told) -> str:
    speaks_of = when["distribution"] or " ".join(filter(None, (when["section"], when["item"], when["field"])))
    sides = " to ".join(when[key] or "any version" for key in ("before", "after"))
    words = [speaks_of.replace("_", " "), sides if when["before"] or when["after"] else "", str(when["direction"])]
    if when["changed_by"]:
        words.append(f"changed by a {when['changed_by']} version or more")
    if list(when["changes"]) != ["changed"]:
        words.append(" or ".join(when["changes"]))
    words += [f"where {needed} is there" for needed in when["needs"]]
    return ", ".join(filter(None, words))


def _example(example: Told) -> str:
    arrow = f"{example['before'] or 'nothing'} -> {example['after'] or 'nothing'}"
    return arrow if example["change"] == "changed" else f"{arrow} ({example['change']})"


def json(rules: object, style: Style | None = None, *, verbose: bool = False) -> str:
    """The same data, for a program."""
    return encoded(list(rules) if isinstance(rules, tuple) else rules)
