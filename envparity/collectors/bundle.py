"""The probe as one program text for another interpreter, and its answer."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from typing import Any, Iterable, Mapping

from envparity.collectors.shapes import Fact
from envparity.collectors.surroundings import SURROUNDING

_GUARD = "Python_3_8_or_newer_is_needed_by_envparity"
_OWN_IMPORT = re.compile(r"(?m)^from envparity\.collectors\.(\w+) import ")
_LEFT_OUT = ("from __future__ ", "from typing ", "from envparity.collectors")
_QUOTES = '"""'
_MOST_BYTES = 256 << 20

VARIABLES = ("HOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONUSERBASE", *SURROUNDING)
"""
What decides the import path of a Python that starts normally, and what its texts, times and connections depend on; the
probe itself is started without them.
"""


def program(nonce: str, options: Mapping[str, Any] | None = None) -> bytes:
    """
    The text to send over standard input to `python -I -S -`. It answers with facts, framed with `nonce`.

    An interpreter older than 3.8 refuses the second line, and shows it; `parse_answer` knows that message.

    Args:
        nonce: at least 16 letters and digits that the target cannot guess.
        options: `verify_files`; `variables`, those of `VARIABLES` that are set in the target's place; `path`, where the
            import path is known.

    Raises:
        ValueError: the nonce is too short or holds something else; an option is unknown.
    """
    return _text("probe", _call(nonce, options))


_IMPORTING = """\
import sys
sys.dont_write_bytecode = True
sys.modules["envparity"] = envparity = type(sys)("envparity")
sys.modules["envparity.collectors"] = envparity.collectors = type(sys)("envparity.collectors")
envparity.__path__, envparity.collectors.__path__ = [], [%s]
from envparity.collectors.probe import main
"""


def importing_program(nonce: str, options: Mapping[str, Any] | None = None) -> bytes:
    """
    The same for the very interpreter that runs this: it imports the collectors from where they lie, with the byte code
    that this interpreter made of them, and nothing else from there. To compile them takes longer than to run them.

    Raises:
        ValueError: as `program` does.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    return (_IMPORTING % ascii(here) + _call(nonce, options)).encode("ascii")


def is_compiled() -> bool:
    """Whether this interpreter has the probe's byte code where another start of it finds it."""
    folder, name = _byte_code()
    return bool(name) and os.path.exists(os.path.join(folder, name.replace("bundle.", "probe.", 1)))


def may_be_compiled() -> bool:
    """Whether an import of the probe would leave its byte code there."""
    folder, name = _byte_code()
    return bool(name) and not sys.dont_write_bytecode and os.access(folder, os.W_OK)


def _byte_code() -> tuple[str, str]:
    """Folder and name of this file's own byte code; the name is empty where a start with `-I` would look elsewhere."""
    folder, name = os.path.split(getattr(__spec__, "cached", None) or "")
    return folder, name if name.startswith("bundle.") and sys.pycache_prefix is None else ""


def _call(nonce: str, options: Mapping[str, Any] | None) -> str:
    chosen = dict(options or {})
    verify = chosen.pop("verify_files", False)
    variables = chosen.pop("variables", None)
    path = chosen.pop("path", None)
    if variables is not None and not set(variables) <= set(VARIABLES):
        raise ValueError("a variable that the probe does not ask for")
    if chosen:
        raise ValueError("unknown option of the probe: " + ", ".join(sorted(chosen)))
    # As a literal of ASCII, whatever bytes a path is made of.
    known = None if variables is None else {str(name): str(value) for name, value in variables.items()}
    entries = None if path is None else [str(entry) for entry in path]
    return "main(%r, %r, %s, %s)\n" % (_checked_nonce(nonce), bool(verify), ascii(known), ascii(entries))


def deep_program(nonce: str, wanted: Iterable[str] = ()) -> bytes:
    """
    The text to send over standard input to `python -`, with its own site and environment: it imports the target's
    numeric libraries and the modules that are `wanted`, and answers in the same frame.

    Raises:
        ValueError: the nonce is too short or holds something else.
    """
    return _text("deep", "run_deep(%r, %r)\n" % (_checked_nonce(nonce), list(wanted)))


def _checked_nonce(nonce: str) -> str:
    if len(nonce) < 16 or not (nonce.isascii() and nonce.isalnum()):
        raise ValueError("a nonce is at least 16 letters and digits")
    return nonce


def _text(name: str, call: str) -> bytes:
    pieces = ["from __future__ import annotations\n%s = (_ := True)\n" % _GUARD]
    pieces += [_bare(_source(needed)) for needed in sent(name)]
    return "".join([*pieces, call]).encode("utf-8")


def sent(name: str = "probe") -> list[str]:
    """
    The files that are streamed: what the probe imports and what those import, each after all that it needs. Two of them
    never define the same name. Shapes are for type checkers alone.
    """
    order: list[str] = []

    def add(needed: str) -> None:
        for other in _OWN_IMPORT.findall(_source(needed)):
            if other != "shapes" and other not in order:
                add(other)
        if needed not in order:
            order.append(needed)

    add(name)
    return order


def parse_answer(stdout: bytes, nonce: str, stderr: bytes = b"") -> list[Fact]:
    """
    The facts that a probe answered with.

    What a login shell printed before the frame, or after it, is passed over. `stderr` only makes the error better.

    Raises:
        ValueError: there is no answer, it is cut short, or it was not made by this probe; the message says which.
    """
    import hashlib

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


def _bare(text: str) -> str:
    """
    A source without docstrings, comments and imports of envparity's own; `typing` goes too: it costs 5 ms, and is
    needed by annotations alone, which nothing evaluates there. By lines: a parser would take longer than the program.
    """
    kept, ends, in_text = [], "", False
    for line in text.split("\n"):
        bare = line.strip()
        if in_text:  # a value over several lines, which is no docstring
            kept.append(line)
            in_text = line.count(_QUOTES) % 2 == 0
        elif ends:
            ends = "" if bare.endswith(ends) else ends
        elif bare.startswith(_QUOTES):
            ends = "" if bare.endswith(_QUOTES) and len(bare) >= 2 * len(_QUOTES) else _QUOTES
        elif line.startswith(_LEFT_OUT):
            ends = ")" if bare.endswith("(") else ""
        elif bare and not bare.startswith("#"):
            kept.append(line)
            in_text = line.count(_QUOTES) % 2 == 1
    return "\n".join(kept) + "\n"


@functools.lru_cache(maxsize=None)
def _source(name: str) -> str:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    with open(path, encoding="utf-8") as file:
        return file.read()
