"""
What the documentation shows is what a reader will see.

Every ```console block of README.md and docs/*.md is held to one of three promises, by the comment before it:

    (nothing)                       each `$ command` is run in an empty folder, and prints what the block shows
    <!-- quickstart -->             each `$ command` stands in a real transcript of the quickstart, with this output
    <!-- not run: the reason -->    it shows what cannot be run here; the reason says why

A block of another kind after `<!-- file: NAME -->` is that file: it lies in the folder of every command of its page.

In the output a line `...` stands for any lines, and `...` inside a line for any text. What the machine decides counts
as equal, whatever it is: timings, sizes, digests, dates, the patch version of Python and where it comes from, the base
and how many OS packages it has, and what an image is entered by.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*?) -->\n+)?^```console\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^<!-- file: (?P<name>[\w./-]+) -->\n+^```\w*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
VARIES = (
    (re.compile(r"sha256:[0-9a-f]{6,64}…?|\b[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?"), "DATE"),
    (re.compile(r"\b\d+(?:[.,]\d+)* ?(?:ms|s|seconds?|[kKMG]i?B|bytes)\b"), "MEASURE"),
    (re.compile(r"\b3\.1\d\.\d+\b"), "PYTHON"),
    (re.compile(r"-p \S*python3\S*"), "-p PYTHON"),
    (re.compile(r"\bPYTHON \([^()]+\)"), "PYTHON"),
    (re.compile(r"\b(?:debian|ubuntu):[a-z]+\b"), "BASE"),
    (re.compile(r"\b\d+ OS packages"), "OS PACKAGES"),
    (re.compile(r"(?<=^inside oci:image by )[^\n]+", re.MULTILINE), "A WAY"),
)


@dataclass(frozen=True)
class Block:
    """One console block: where it stands, its mark, and each command with the output that is shown below it."""

    where: str
    mark: str
    files: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]


def commands(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a command and its output; a command may go on over lines that end in a backslash."""
    pairs: list[tuple[str, list[str]]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            pairs.append((command, []))
        elif pairs and not line.startswith("# "):
            pairs[-1][1].append(line)
    return tuple((command, "\n".join(output).strip("\n")) for command, output in pairs)


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    files = tuple((found["name"], found["text"]) for found in FILE.finditer(text))
    return [
        Block(
            f"{page.name}:{text[: found.start()].count(chr(10)) + 1}",
            found["mark"] or "",
            files,
            commands(found["text"]),
        )
        for found in BLOCK.finditer(text)
    ]


def settled(text: str) -> str:
    """The text with all that may differ from run to run replaced by what it is."""
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return "\n".join(re.sub(r"\s+", " ", line).strip() for line in text.splitlines())


def shows(shown: str, real: str) -> bool:
    """Whether the real output is what was shown, `...` standing for any lines, or for any text within a line."""
    pattern = re.escape(settled(shown)).replace(r"\.\.\.", r"[\s\S]*?")
    return re.fullmatch(pattern, settled(real)) is not None


PAGES = [page for page in [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))] if page.exists()]
BLOCKS = [block for page in PAGES for block in blocks(page)]
PLAIN = [block for block in BLOCKS if not block.mark]
TOLD = [block for block in BLOCKS if block.mark == "quickstart"]


@pytest.mark.parametrize("block", PLAIN, ids=[block.where for block in PLAIN])
def test_a_block_prints_what_it_shows(block: Block, tmp_path: Path) -> None:
    """Somebody types this and gets something else: the first impression is gone."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }
    for name, text in block.files:
        (tmp_path / name).write_text(text, encoding="utf-8")
    status = 0
    for command, shown in block.commands:
        if command == "echo $?":
            printed = f"{status}\n"
        else:
            done = subprocess.run(
                shlex.split(command),
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            printed, status = done.stdout, done.returncode

        assert shows(shown, printed.strip("\n")), f"{block.where}: `{command}` printed:\n{printed}"


@pytest.mark.parametrize("block", TOLD, ids=[block.where for block in TOLD])
def test_a_block_of_the_quickstart_is_what_the_quickstart_prints(block: Block, quickstart: Path) -> None:
    """The first screen of the README is one real session, and has to stay one."""
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        pytest.skip("the pages show the quickstart on Python 3.11 and 3.12")
    transcript = (quickstart / "transcript.txt").read_text(encoding="utf-8")
    known: dict[str, str] = {}
    for command, output in commands(transcript):
        known.setdefault(settled(command), output)  # its last step only names what to type next
    for command, shown in block.commands:
        if command == "echo $?":
            continue  # the quickstart itself checks each status

        assert settled(command) in known, f"{block.where}: `{command}` is no command of the quickstart"
        real = known[settled(command)]
        assert shows(shown, real), f"{block.where}: `{command}` printed:\n{real}"


def test_every_block_is_run_or_says_why_not() -> None:
    """A mark with a slip of the pen would switch a block off in silence."""
    unknown = [
        f"{block.where}: {block.mark}"
        for block in BLOCKS
        if block.mark not in ("", "quickstart") and not re.fullmatch(r"not run: .{10,}", block.mark)
    ]

    assert unknown == []


def test_lines_in_the_80_columns_of_a_terminal() -> None:
    """The pages are read in a terminal too, and what the quickstart prints has to fit one."""
    wide = [
        f"{block.where}: {line}"
        for block in BLOCKS
        for command, output in block.commands
        for line in output.splitlines()
        if len(line) > 80
    ]

    assert wide == []


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("3 findings", "3 findings", True),
        ("3 findings", "4 findings", False),
        ("built sha256:00000000 in 3.2 s", "built sha256:deadbeef in 11 s", True),
        ("first\n...\nlast", "first\none\ntwo\nlast", True),
        ("first\n...\nlast", "first\none\ntwo", False),
        ("glibc ... wanted", "glibc 2.36 wanted", True),
        ("12.1 MB", "13 MiB", True),
    ],
)
def test_the_comparison_forgives_what_varies_and_nothing_else(shown: str, real: str, same: bool) -> None:
    """A comparison that forgives too much proves nothing, one that forgives too little is switched off."""
    assert shows(shown, real) is same


def test_the_table_of_the_general_order_is_the_one_that_judges() -> None:
    from envparity.knowledge import load_general

    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (CHECKOUT / "docs" / "diff.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    head, *body = rows

    assert {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body} == {
        role.words: {level: str(severity) for level, severity in role.severities.items()}
        for role in load_general().roles.values()
    }
