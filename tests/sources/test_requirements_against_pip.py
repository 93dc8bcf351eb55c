"""pip's own parser has the last word on hundreds of files that nobody wrote by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from envparity.errors import MalformedError, UnsupportedError, UsageError
from envparity.sources import requirement_lines
from tests.sources.test_requirements import _as_ours, _row
from tests.tools import answer_of

FILES = 400

NAMES = ("numpy", "Flask_SQLAlchemy", "jaraco.text", "a", "zope.interface", "ruamel.yaml.clib", "x--y", "1password")
EXTRAS = ("", "", "", "[standard]", "[a,b]", " [ a , b ]", "[A_B]", "[]", "[a", "[a b]")
RANGES = (
    *("", "==1.26.4", "== 1.26.4", ">=1,<2", ">=1, <2", "(>=1)", "( >=1 , <2 )", "===1.0", "~=1.4", "!=1.5", "==1.*"),
    *(
        "==1.0+cu121",
        ">= 1.0.dev0",
        "==2023.07.22",
        "=1.0",
        "<",
        "==1.0 2.0",
        "==v1.0",
        "==1!2.0",
        "==1.0.post1",
        ">1.*",
    ),
)
MARKERS = (
    *("", "", "", "; python_version<'3.9'", ' ; sys_platform == "win32"', ";os_name=='nt' and extra=='x'"),
    *(
        "; python_version in '3.8,3.9'",
        ";",
        "; python_version",
        "; nonsense == '1'",
        "; (os_name=='nt' or os_name=='posix')",
    ),
)
PLACES = (
    *("", "", "", "", "", "", "@ https://files.example/{}-1.0.tar.gz", " @ git+https://git.example/x.git@v1"),
    *("@https://files.example/{}-1.0-py3-none-any.whl#sha256=" + "b" * 64, "@ "),
)
HASHES = (
    "",
    "",
    "",
    f" --hash=sha256:{'a' * 64}",
    f" \\\n  --hash=sha256:{'A' * 64}",
    f" --hash sha512:{'d' * 128}",
    f" --hash md5:{'c' * 32}",
)
COMMENTS = ("", "", "", " # why", " #glued", "\t# tab", "  #")
WHOLE = (
    *("", "# a comment", "   ", "\\", "# a comment \\", "\\\n", "-r", "-rabsent.txt", "- numpy", "-x", "--nonsense"),
    *("--index-url https://x.example", "-i https://x.example", "--extra-index-url=https://x.example/simple", "--pre"),
    *("-f ./wheels", "--no-index", "--prefer-binary", "--no-binary :all:", "--only-binary=numpy", "--require-hashes"),
    *("--trusted-host x.example", "--use-feature fast-deps", "numpy==1.0 --nonsense", "--verbose"),
    *("https://files.example/demo-1.0-py3-none-any.whl", "git+https://git.example/x.git#egg=demo", "./demo-1.0.tar.gz"),
    *("numpy \\\n==1.0", "numpy==1.0 \\\n# not a part", "num\\\npy", "numpy==1.0,\\\n<2", "numpy\t==\t1.0", "numpy;"),
    *("'numpy'", '"numpy==1.0"', "[numpy]", "numpy numpy", "numpy, scipy", "-e git+https://g.example/x.git#egg=demo"),
)
"""Pieces of lines as people and tools write them, right and wrong."""


def line(chance: random.Random) -> str:
    if chance.random() < 0.35:
        return chance.choice(WHOLE)
    name = chance.choice(NAMES)
    place = chance.choice(PLACES).format(name)
    middle = place or chance.choice(RANGES)
    pieces = (chance.choice(("", "", " ")), name, chance.choice(EXTRAS), chance.choice(("", " ")), middle)
    return "".join((*pieces, chance.choice(MARKERS), chance.choice(HASHES), chance.choice(COMMENTS)))


def texts(seed: int, count: int) -> dict[str, str]:
    """Files of one line, which say which line it is that two parsers disagree on, and files of some lines."""
    chance = random.Random(seed)
    lengths = [1 if number % 4 else chance.randint(2, 5) for number in range(count)]
    ends = ("\n", "\n", "\r\n", "")
    return {
        f"{number:05}.txt": "\n".join(line(chance) for _ in range(length)) + chance.choice(ends)
        for number, length in enumerate(lengths)
    }


def _hashed_once(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its hashes where an address has some of its own: pip keeps the two apart."""
    return {**row, "hashes": []} if row.get("placed") else row


def ours(data: bytes, name: str, folder: Path) -> list[dict[str, object]] | str:
    try:
        return [_hashed_once(_row(entry)) for entry in requirement_lines.entries(data, name, folder)]
    except (MalformedError, UsageError, UnsupportedError) as error:
        return str(error)


def disagreements(folder: Path, seed: int, count: int) -> list[tuple[str, object, object]]:
    """
    The files that pip and we understand differently, with both answers.

    There must be enough of both kinds, those that pip takes and those that it refuses, or agreement says little.
    """
    files = texts(seed, count)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    script = Path(__file__).parents[1] / "data" / "requirements" / "ask.py"
    answers = json.loads(answer_of("pip>=26", script, folder))
    refused = sum(isinstance(answer, str) for answer in answers.values())
    assert count / 4 < refused < count * 3 / 4
    found = []
    for name, text in files.items():
        theirs = answers[name]
        understood = theirs if isinstance(theirs, str) else [_hashed_once(_as_ours(row)) for row in theirs]
        got = ours(text.encode(), name, folder)
        if got != understood and not (isinstance(got, str) and isinstance(understood, str)):
            found.append((text, got, understood))
    return found


def test_any_file_means_what_pip_takes_it_for(tmp_path: Path) -> None:
    """Whoever installs with pip and compares with us must not be told of two different environments."""
    assert disagreements(tmp_path, 1, FILES) == []
