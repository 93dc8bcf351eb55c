"""The probe as one program text for another interpreter, and its answer."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from typing import Any, Mapping

from envparity.collectors.shapes import Fact

_GUARD = "Python_3_8_or_newer_is_needed_by_envparity"
_PACKAGE = "envparity.collectors"
_MOST_BYTES = 256 << 20

VARIABLES = ("HOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONUSERBASE")
"""What decides the import path of a Python that starts normally; the probe itself is started without them."""


def program(nonce: str, options: Mapping[str, Any] | None = None) -> bytes:
    """
    The text to send over standard input to `python -I -S -`. It answers with facts, framed with `nonce`.

    An interpreter older than 3.8 refuses the second line, and shows it; `parse_answer` knows that message.

    Args:
        nonce: at least 16 letters and digits that the target cannot guess.
        options: `verify_files`; `variables`, those of `VARIABLES` that are set in the target's place.

    Raises:
        ValueError: the nonce is too short or holds something else; an option is unknown.
    """
    chosen = dict(options or {})
    verify = chosen.pop("verify_files", False)
    variables = chosen.pop("variables", None)
    if variables is not None and not set(variables) <= set(VARIABLES):
        raise ValueError("a variable that the probe does not ask for")
    if chosen:
        raise ValueError("unknown option of the probe: " + ", ".join(sorted(chosen)))
    if len(nonce) < 16 or not (nonce.isascii() and nonce.isalnum()):
        raise ValueError("a nonce is at least 16 letters and digits")
    pieces = ["from __future__ import annotations\n%s = (_ := True)\n" % _GUARD]
    pieces += [_without_imports_of_each_other(name) for name in sent()]
    # As a literal of ASCII, whatever bytes a path is made of.
    known = None if variables is None else {str(name): str(value) for name, value in variables.items()}
    pieces.append("main(%r, %r, %s)\n" % (nonce, bool(verify), ascii(known)))
    return "".join(pieces).encode("utf-8")


def sent(name: str = "probe") -> list[str]:
    """
    The files that are streamed: what the probe imports and what those import, each after all that it needs. Two of them
    never define the same name. Shapes are for type checkers alone.
    """
    order: list[str] = []
    for node in ast.parse(_source(name)).body:
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        if module.startswith(_PACKAGE + ".") and not module.endswith(".shapes"):
            order += [needed for needed in sent(module[len(_PACKAGE) + 1 :]) if needed not in order]
    return [*order, name]


def parse_answer(stdout: bytes, nonce: str, stderr: bytes = b"") -> list[Fact]:
    """
    The facts that a probe answered with.

    What a login shell printed before the frame, or after it, is passed over. `stderr` only makes the error better.

    Raises:
        ValueError: there is no answer, it is cut short, or it was not made by this probe; the message says which.
    """
    mark = b"envparity-probe "
    header = mark + nonce.encode("ascii") + b" "
    count = stdout.count(header)
    if count != 1:
        raise ValueError(_no_answer(stdout, stderr, mark, count))
    line, newline, rest = stdout[stdout.index(header) + len(header) :].partition(b"\n")
    length, _, digest = line.partition(b" ")
    if not newline or not length.isdigit() or len(length) > 12 or int(length) > _MOST_BYTES:
        raise ValueError("the answer of the probe is cut short or damaged in its first line")
    data = rest[: int(length)]
    if len(data) < int(length):
        raise ValueError("the answer of the probe is cut short: %d of %d bytes" % (len(data), int(length)))
    if hashlib.sha256(data).hexdigest().encode("ascii") != digest.strip():
        raise ValueError("the answer of the probe is not the one that it signed: its sha256 differs")
    try:
        facts = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("the answer of the probe is nested too deep") from None
    if not isinstance(facts, list) or not all(
        isinstance(fact, dict) and isinstance(fact.get("kind"), str) for fact in facts
    ):
        raise ValueError("the answer of the probe is not a list of facts")
    return facts


def _no_answer(stdout: bytes, stderr: bytes, mark: bytes, count: int) -> str:
    if count:
        return "the probe answered %d times: the answer may be forged" % count
    if _GUARD.encode("ascii") in stderr or b"Unknown option: -I" in stderr:
        return "the target is older than Python 3.8, which the probe needs"
    if mark in stdout:
        return "the answer carries another nonce: it was not made by this probe"
    last = stderr.decode("utf-8", "replace").strip().split("\n")[-1].strip()
    return "the probe gave no answer" + (": " + last[:200] if last else "")


def _without_imports_of_each_other(name: str) -> str:
    """
    The source without docstring and imports of envparity's own; `typing` goes too: it costs 5 ms, and is needed by
    annotations alone, which nothing evaluates there.
    """
    text = _source(name)
    lines = text.split("\n")
    for node in ast.parse(text).body:
        own = isinstance(node, ast.ImportFrom) and (
            node.module in ("__future__", "typing") or (node.module or "").startswith(_PACKAGE)
        )
        if own or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            end: int = node.end_lineno or node.lineno
            lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#")) + "\n"


def _source(name: str) -> str:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    with open(path, encoding="utf-8") as file:
        return file.read()
