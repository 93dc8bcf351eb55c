"""The streamed program, its answer, and what is said when there is none."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envparity.collectors import bundle
from envparity.collectors.bundle import parse_answer, program, sent

NONCE = "0123456789abcdef0123456789abcdef"


def framed(data, nonce=NONCE):
    return (
        b"envparity-probe %s %d %s\n"
        % (
            nonce.encode(),
            len(data),
            hashlib.sha256(data).hexdigest().encode(),
        )
        + data
    )


def send(executable, text=None, **more):
    return subprocess.run(
        [executable, "-I", "-S", "-"],
        input=text or program(NONCE),
        capture_output=True,
        **more,
    )


def defined(name):
    """What a file defines at the top, imports aside."""
    source = Path(bundle.__file__).with_name(name + ".py").read_text(encoding="utf-8")
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(target.id for target in targets if isinstance(target, ast.Name))
    return found


def test_no_two_files_that_are_sent_define_the_same_name():
    """They run in one namespace there: the second would replace the first, silently."""
    owners = {}
    for name in sent():
        for item in defined(name):
            assert item not in owners, f"{item} is defined in {owners.get(item)} and in {name}"
            owners[item] = name


def test_what_is_sent_is_the_program_itself_without_words_for_people():
    """It is cut by lines, not by a parser: one line too many, and another program would run in the target."""
    for name in sent():
        text = Path(bundle.__file__).with_name(name + ".py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
                own = ("__future__", "typing")
                node.body = [
                    item
                    for item in node.body
                    if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
                    and not (isinstance(item, ast.ImportFrom) and (item.module in own or "envparity" in item.module))
                ]

        assert ast.dump(ast.parse(bundle._bare(text))) == ast.dump(tree), name


def test_what_is_sent_needs_nothing_that_is_not_sent_with_it():
    text = program(NONCE).decode()

    assert "envparity.collectors" not in text
    assert "import typing" not in text
    assert "from typing" not in text


def test_every_python_here_answers_with_facts_of_every_section(python):
    done = send(python)
    kinds = {fact["kind"] for fact in parse_answer(done.stdout, NONCE, done.stderr)}

    assert {"python", "system", "host", "section"} <= kinds
    assert done.stderr == b""


def test_the_same_facts_come_from_the_running_process():
    from envparity.collectors.probe import collect

    sent = parse_answer(send(sys.executable).stdout, NONCE)
    here = collect()
    names = {"os-package", "system", "cpu"}

    assert [fact for fact in here if fact["kind"] in names] == [fact for fact in sent if fact["kind"] in names]


def test_a_process_that_started_normally_can_say_its_own_path(tmp_path):
    from envparity.collectors.probe import collect

    folder = tmp_path / "x-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: x\nVersion: 1\n")
    facts = collect([str(tmp_path)])

    assert [fact["name"] for fact in facts if fact["kind"] == "distribution"] == ["x"]
    assert [fact["path"] for fact in facts if fact["kind"] == "python" and "version" in fact] == [[str(tmp_path)]]


def test_a_file_name_that_is_not_utf8_reaches_the_answer(tmp_path):
    from envparity.collectors.frame import printable

    (tmp_path / os.fsdecode(b"b\xff-1.dist-info")).mkdir()
    (path,) = tmp_path.iterdir()

    assert printable({"item": [path.name]}) == {"item": ["b\\xff-1.dist-info"]}


def test_what_the_target_prints_goes_to_standard_error():
    text = program(NONCE).replace(b"\nmain(", b"\nimport os\nprint('noise')\nmain(")
    loud = program(NONCE).replace(
        b"    out = os.dup(1)\n", b"    out = os.dup(1)\n    os.dup2(2, 1)\n    os.write(1, b'noise')\n"
    )

    assert parse_answer(send(sys.executable, text).stdout, NONCE)
    assert send(sys.executable, loud).stderr == b"noise"


def test_one_collector_that_fails_hides_no_other():
    text = program(NONCE).replace(b"def cpu(tree", b"def cpu(tree):\n    raise LookupError('broken')\ndef cpu_(tree")
    facts = parse_answer(send(sys.executable, text).stdout, NONCE)
    gaps = [fact for fact in facts if fact["kind"] == "gap" and fact["section"] == "cpu"]

    assert [(fact["gap"], fact["reason"]) for fact in gaps] == [
        ("unread", "its collector failed: broken (LookupError)")
    ]
    assert {"python", "system", "host"} <= {fact["kind"] for fact in facts}


def test_a_banner_of_the_shell_is_passed_over():
    assert parse_answer(b"Welcome!\n" + framed(b'[{"kind":"x"}]') + b"bye\n", NONCE) == [{"kind": "x"}]


GOOD = framed(b'[{"kind":"x"}]')


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"),
    [
        (b"", b"", "the probe gave no answer"),
        (b"", b"a\nModuleNotFoundError: No module named 'json'\n", "no answer: ModuleNotFoundError: No module named"),
        (b"", b"Unknown option: -I\nusage: python", "older than Python 3.8"),
        (
            b"",
            b"    Python_3_8_or_newer_is_needed_by_envparity = (_ := True)\nSyntaxError: invalid",
            "older than Python 3.8",
        ),
        (framed(b"[]", "f" * 32), b"", "carries another nonce"),
        (GOOD + GOOD, b"", "answered 2 times: the answer may be forged"),
        (GOOD[:-3], b"", "cut short: 11 of 14 bytes"),
        (GOOD[:60], b"", "cut short or damaged in its first line"),
        (GOOD.replace(b'"x"', b'"y"'), b"", "its sha256 differs"),
        (framed(b'{"kind":"x"}'), b"", "is not a list of facts"),
        (framed(b'[{"sort":"x"}]'), b"", "is not a list of facts"),
        (framed(b"[" * 200_000), b"", "nested too deep"),
        (framed(b"\xff"), b"", "codec can't decode"),
        (framed(b"[").replace(b" 1 ", b" 99999999999 "), b"", "damaged in its first line"),
    ],
)
def test_an_answer_that_is_missing_cut_or_forged_is_refused_with_the_reason(stdout, stderr, said):
    with pytest.raises(ValueError, match=said):
        parse_answer(stdout, NONCE, stderr)


def test_an_answer_cut_anywhere_is_refused():
    for length in range(len(GOOD)):
        with pytest.raises(ValueError, match=r"cut short|no answer|another nonce"):
            parse_answer(GOOD[:length], NONCE)


@pytest.mark.parametrize(
    ("nonce", "options", "said"),
    [
        ("short", {}, "a nonce"),
        ("x" * 16 + "')", {}, "a nonce"),
        (NONCE, {"verify": True}, "unknown option of the probe: verify"),
    ],
)
def test_a_program_is_only_made_of_what_cannot_be_code(nonce, options, said):
    with pytest.raises(ValueError, match=said):
        program(nonce, options)


def test_a_python_that_is_too_old_is_named_as_such():
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in [*root.glob("versions/2.7*/bin/python"), *root.glob("versions/3.[4-7].*/bin/python")]:
        done = send(str(path))
        with pytest.raises(ValueError, match=r"older than Python 3\.8"):
            parse_answer(done.stdout, NONCE, done.stderr)


def test_files_are_verified_where_that_was_asked_for(tmp_path):
    made = subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(tmp_path / "env")])
    if made.returncode:
        pytest.skip("this Python cannot make virtual environments")
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "x-1.dist-info").mkdir()
    (site / "x-1.dist-info" / "METADATA").write_text("Name: x\nVersion: 1\n")
    (site / "x-1.dist-info" / "RECORD").write_text("x.py,sha256=AAAA,3\n")
    executable = str(tmp_path / "env" / "bin" / "python")
    found = {}
    for asked in (False, True):
        done = send(executable, program(NONCE, {"verify_files": asked}))
        (found[asked],) = [fact for fact in parse_answer(done.stdout, NONCE) if fact.get("name") == "x"]

    assert "missing" not in found[False]
    assert found[True]["missing"] == ["x.py"]


def test_our_own_interpreter_answers_the_same_with_the_collectors_that_it_compiled():
    """It is faster; a snapshot must not tell which of the two programs was sent."""
    options = {"variables": {"PYTHONPATH": "/nowhere"}}
    sent_text, imported = (
        parse_answer(send(sys.executable, make(NONCE, options)).stdout, NONCE)
        for make in (program, bundle.importing_program)
    )

    def lasting(facts):
        return [fact for fact in facts if fact["kind"] not in ("host", "cpu")]  # loads and clocks change meanwhile

    assert lasting(imported) == lasting(sent_text)


def test_the_importing_program_leaves_no_byte_code_behind(tmp_path):
    """What is only read writes nothing; and it finds nothing but the collectors where they lie."""
    folder = tmp_path / "collectors"
    shutil.copytree(Path(bundle.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    here = ascii(str(Path(bundle.__file__).absolute().parent))
    text = bundle.importing_program(NONCE).decode().replace(here, ascii(str(folder)))
    before = sorted(str(path) for path in tmp_path.rglob("*"))

    done = send(sys.executable, text.encode(), cwd=str(tmp_path))

    assert str(folder) in text
    assert parse_answer(done.stdout, NONCE, done.stderr)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_the_answer_is_json_that_says_nothing_twice():
    facts = parse_answer(send(sys.executable).stdout, NONCE)

    assert len({json.dumps(fact, sort_keys=True) for fact in facts}) == len(facts)


def test_the_deep_program_is_made_like_the_other():
    owners = {}
    for name in sent("deep"):
        for item in defined(name):
            assert item not in owners, f"{item} is defined in {owners.get(item)} and in {name}"
            owners[item] = name
    assert b"envparity.collectors" not in bundle.deep_program(NONCE)
    with pytest.raises(ValueError, match="nonce"):
        bundle.deep_program("short")


def test_every_python_here_answers_the_deep_program_with_what_it_has_loaded(python):
    text = bundle.deep_program(NONCE, ["json.tool", "no_such_module"])
    done = subprocess.run([python, "-I", "-S", "-B", "-"], input=text, capture_output=True)
    facts = parse_answer(done.stdout, NONCE, done.stderr)

    assert done.stderr == b""
    assert {"module", "native-library", "numerics", "section", "gap"} == {fact["kind"] for fact in facts}
    assert "json" in {fact.get("name") for fact in facts if fact["kind"] == "module"}
    assert [fact["item"] for fact in facts if fact["kind"] == "gap"] == ["no_such_module"]
    assert "__main__" not in {fact.get("name") for fact in facts}


def test_a_library_that_prints_or_leaves_cannot_spoil_the_deep_answer(tmp_path):
    (tmp_path / "numpy.py").write_text("print('welcome')\nraise SystemExit(3)\n")
    text = bundle.deep_program(NONCE)
    done = subprocess.run(
        [sys.executable, "-B", "-"], input=text, capture_output=True, env={"PYTHONPATH": str(tmp_path)}
    )
    facts = parse_answer(done.stdout, NONCE, done.stderr)

    assert done.stderr == b"welcome\n"
    assert [(fact["gap"], fact["item"]) for fact in facts if fact["kind"] == "gap" and fact["item"] == "numpy"] == [
        ("unread", "numpy")
    ]
