"""The import path is computed without running anything, and must be the one that the interpreter itself would have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envparity.collectors.bundle import parse_answer, program
from envparity.collectors.paths import is_source_tree, pyvenv_keys, site_path, virtual_environment
from envparity.collectors.tree import LocalTree

NONCE = "0123456789abcdef"


def run(*command, **more):
    return subprocess.run(command, capture_output=True, **more)


def real_path(executable):
    """`sys.path` and `sys.prefix` as the interpreter makes them, its site and all its `.pth` files run."""
    done = run(executable, "-I", "-c", "import sys, json; print(json.dumps([sys.prefix, sys.path]))")
    return json.loads(done.stdout.decode().splitlines()[-1])


def probed(executable):
    done = run(executable, "-I", "-S", "-", input=program(NONCE))
    facts = parse_answer(done.stdout, NONCE, done.stderr)
    (fact,) = [fact for fact in facts if fact["kind"] == "python" and "version" in fact]
    return [fact["prefix"], fact["path"]]


def test_every_python_here_has_the_path_that_we_compute(python):
    assert probed(python) == real_path(python)


@pytest.mark.parametrize(
    "options",
    [[], ["--system-site-packages"], ["--copies"], ["--symlinks", "--system-site-packages"]],
    ids=["plain", "system", "copies", "links"],
)
def test_a_virtual_environment_has_the_path_that_we_compute(python, options, tmp_path):
    folder = tmp_path / "env"
    made = run(python, "-I", "-m", "venv", "--without-pip", *options, str(folder))
    if made.returncode:
        pytest.skip(f"{python} cannot make virtual environments")
    executable = str(folder / "bin" / "python")
    (packages,) = [path for path in folder.glob("lib/python*/site-packages") if not path.parent.parent.is_symlink()]
    extra = tmp_path / "extra"
    extra.mkdir()
    (packages / "b.pth").write_text(f"# a comment\n\n{extra}\n/not/there\nimport os\nsub\n{extra}\n")
    (packages / "sub").mkdir()
    (packages / ".hidden.pth").write_text(f"{tmp_path}\n")

    assert probed(executable) == real_path(executable)
    assert str(extra) in probed(executable)[1]


def test_a_virtual_environment_reached_through_a_link_has_the_path_that_we_compute(python, tmp_path):
    if run(python, "-I", "-m", "venv", "--without-pip", str(tmp_path / "env")).returncode:
        pytest.skip(f"{python} cannot make virtual environments")
    (tmp_path / "linked").symlink_to(tmp_path / "env")
    (tmp_path / "tool").symlink_to(tmp_path / "env" / "bin" / "python")

    for executable in (str(tmp_path / "linked" / "bin" / "python"), str(tmp_path / "tool")):
        assert probed(executable) == real_path(executable)


def test_environments_made_by_other_tools_have_the_path_that_we_compute(python, tmp_path):
    """uv and virtualenv write their own pyvenv.cfg; where neither is installed, there is nothing to compare."""
    makers = {
        "uv": ["uv", "venv", "-q", "--offline", "-p", python, str(tmp_path / "uv")],
        "virtualenv": ["virtualenv", "-q", "--no-download", "--no-seed", "-p", python, str(tmp_path / "virtualenv")],
    }
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for name, command in makers.items():
        try:
            made = run(*command, env=dict(os.environ, PATH=search))
        except OSError:
            continue
        if made.returncode == 0:
            executable = str(tmp_path / name / "bin" / "python")
            assert probed(executable) == real_path(executable), name


def test_code_in_a_pth_file_is_named_and_never_run(python, tmp_path):
    """Who starts an interpreter to look at it must not start what somebody left in it (litellm_init.pth, 2026)."""
    if run(python, "-I", "-m", "venv", "--without-pip", str(tmp_path / "env")).returncode:
        pytest.skip(f"{python} cannot make virtual environments")
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    trap = f"import os; open({str(tmp_path / 'sprung')!r}, 'w').close()\n"
    (packages / "evil.pth").write_text(trap)
    (packages / "sitecustomize.py").write_text(trap)
    done = run(str(tmp_path / "env" / "bin" / "python"), "-I", "-S", "-", input=program(NONCE))
    facts = parse_answer(done.stdout, NONCE)

    named = {fact["item"]: fact for fact in facts if fact["kind"] == "gap" and fact["section"] == "python"}
    assert not (tmp_path / "sprung").exists()
    assert {str(packages / "evil.pth"), str(packages / "sitecustomize.py")} <= set(named)
    assert all(fact["gap"] == "not-recorded" for fact in named.values())


def test_a_pth_file_that_is_not_utf8_is_still_read(tree_of):
    tree = tree_of({"/s/site-packages/a.pth": b"\xe9t\xe9\n", "/s/site-packages/\xe9t\xe9/x.py": b""})
    facts = []

    assert site_path(tree, ["/s/site-packages"], [], facts) == ["/s/site-packages", "/s/site-packages/\xe9t\xe9"]
    assert facts == []


def test_a_folder_that_cannot_be_listed_is_unread(tmp_path):
    class Locked(LocalTree):
        def entries(self, path):
            raise PermissionError(13, "Permission denied", path)

    facts = []
    path = site_path(Locked(), [str(tmp_path)], [], facts)

    assert path == [str(tmp_path)]
    assert [(fact["gap"], fact["reason"], fact["item"]) for fact in facts] == [
        ("unread", "Permission denied", str(tmp_path))
    ]


def test_a_folder_that_cannot_even_be_looked_into_is_unread_and_the_others_are_searched(tmp_path):
    """Of a folder without any permission nothing inside can be asked for, not even whether it is there."""

    class Closed(LocalTree):
        def entries(self, path):
            if path == str(tmp_path / "closed"):
                raise PermissionError(13, "Permission denied", path)
            return super().entries(path)

        def kind(self, path):
            if path.startswith(str(tmp_path / "closed") + "/"):
                raise PermissionError(13, "Permission denied", path)
            return super().kind(path)

    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open/sitecustomize.py").write_text("")
    folders = [str(tmp_path / "closed"), str(tmp_path / "open")]

    facts = []
    path = site_path(Closed(), folders, [], facts)

    assert path == folders
    assert [(fact["gap"], fact["item"]) for fact in facts] == [
        ("unread", folders[0]),
        ("not-recorded", folders[1] + "/sitecustomize.py"),
    ]
    assert not is_source_tree(Closed(), folders[0])


def test_pyvenv_cfg_is_found_beside_the_executable_or_one_folder_up(tree_of):
    config = b"home = /usr/bin\nInclude-System-Site-Packages = TRUE\n"
    tree = tree_of({"/e/pyvenv.cfg": config, "/e/bin/python": b"", "/f/bin/pyvenv.cfg": b"home = /x\n"})

    assert pyvenv_keys(config) == {"home": "/usr/bin", "include-system-site-packages": "TRUE"}
    assert virtual_environment(tree, "/e/bin/python") == ("/e", True)
    assert virtual_environment(tree, "/f/bin/python") == ("/f", True)
    assert virtual_environment(tree, "/usr/bin/python") is None
