"""How a Python was built, what it is linked to, and whose folder counts."""

import json
import os
import subprocess
import sys

import pytest

from envparity.collectors.build import configure_flags, has_jit, switches
from envparity.collectors.bundle import parse_answer, program
from envparity.collectors.paths import user_folder, user_site
from envparity.collectors.variables import process_switches

NONCE = "0123456789abcdef"

DATA = b"""# system configuration generated and used by the sysconfig module
build_time_vars = {'ABIFLAGS': '',
 'CONFIG_ARGS': "'--enable-shared' '--prefix=/home/ada/py' "
                "'--with-lto=full' '--without-ensurepip' 'CFLAGS=-O3 -g'"
                " '--with-openssl=/home/ada/ssl' '--enable-experimental-jit=yes-off'",
 'CONFIG_OTHER': "'--enable-no'",
}
"""


def test_the_switches_of_configure_are_kept_and_paths_are_not(tree_of):
    tree = tree_of({"/p/_sysconfigdata__linux_.py": DATA, "/p/_sysconfigdata_d_linux_.py": b""})

    assert configure_flags(tree, "/p") == [
        "--enable-experimental-jit=yes-off",
        "--enable-shared",
        "--with-lto=full",
        "--with-openssl",
        "--without-ensurepip",
    ]
    assert configure_flags(tree_of({}), "/p") == []
    assert configure_flags(tree_of({"/p/_sysconfigdata_x.py": b"{'CONFIG_ARGS': ''}"}), "/p") == []


@pytest.mark.parametrize(
    ("flags", "built"),
    [([], False), (["--enable-experimental-jit"], True), (["--enable-experimental-jit=no"], False)],
)
def test_a_jit_is_one_that_was_built_in(flags, built):
    assert has_jit(flags) is built


def test_every_python_here_says_what_its_own_sysconfig_and_modules_say(python):
    ask = (
        "import sysconfig, ssl, zlib, sqlite3, unicodedata, pyexpat;"
        "print(sysconfig.get_config_var('CONFIG_ARGS'));"
        "print(ssl.OPENSSL_VERSION.split()[1], zlib.ZLIB_RUNTIME_VERSION, sqlite3.sqlite_version,"
        " unicodedata.unidata_version, pyexpat.EXPAT_VERSION.split('_')[1])"
    )
    said = subprocess.run([python, "-I", "-c", ask], stdout=subprocess.PIPE)
    if said.returncode:
        pytest.skip(f"{python} was built without one of these modules")
    arguments, versions = said.stdout.decode().strip().splitlines()[-2:]
    done = subprocess.run([python, "-I", "-S", "-"], input=program(NONCE), stdout=subprocess.PIPE)
    facts = parse_answer(done.stdout, NONCE)
    (fact,) = [fact for fact in facts if fact["kind"] == "python" and "version" in fact]
    found = dict(fact["libraries"])

    assert fact["configure"] == switches(arguments)
    assert [found[name] for name in ("openssl", "zlib", "sqlite", "unicode", "expat")] == versions.split()


@pytest.mark.parametrize(
    ("variables", "fields"),
    [
        ({}, {}),
        ({"PYTHONHASHSEED": "0", "PYTHONOPTIMIZE": "2"}, {"hash_seed": "0", "optimize": 2}),
        ({"PYTHONOPTIMIZE": "yes", "PYTHONUTF8": "1"}, {"optimize": 1, "utf8_mode": True}),
        ({"PYTHONUTF8": "0", "PYTHONDEVMODE": "1"}, {"utf8_mode": False, "dev_mode": True}),
        ({"PYTHONUTF8": "x", "PYTHONOPTIMIZE": "", "PYTHONHASHSEED": ""}, {}),
    ],
)
def test_switches_of_a_process_come_from_its_variables_and_are_never_those_of_the_probe(variables, fields):
    """The probe runs with `-I`: its own switches would say that no user's folder counts and the hash seed is random."""
    assert process_switches(variables) == dict(fields, kind="python")


def test_whether_the_users_folder_counts_is_what_python_itself_says(python, tmp_path):
    ask = "import site, json, sys; print(json.dumps([site.ENABLE_USER_SITE, site.USER_SITE, sys.path]))"
    folder = tmp_path / ".local" / "lib" / ("python{}.{}".format(*minor_of(python))) / "site-packages"
    folder.mkdir(parents=True)
    (folder / "extra.pth").write_text(str(tmp_path) + "\n")
    for more in ({}, {"PYTHONNOUSERSITE": "1"}, {"PYTHONPATH": f"{tmp_path}:{folder}"}):
        variables = dict(more, HOME=str(tmp_path))
        environ = {"PATH": os.environ.get("PATH", ""), **variables}
        said = subprocess.run([python, "-c", ask], stdout=subprocess.PIPE, env=environ)
        enabled, place, path = json.loads(said.stdout.decode().strip().splitlines()[-1])
        text = program(NONCE, {"variables": variables})
        done = subprocess.run([python, "-I", "-S", "-"], input=text, stdout=subprocess.PIPE)
        facts = parse_answer(done.stdout, NONCE)
        (fact,) = [fact for fact in facts if fact["kind"] == "python" and "version" in fact]

        assert (fact["user_site"], str(folder)) == (enabled, place)
        assert fact["path"] == path[1:]  # the first is the folder of the script


def minor_of(python):
    ask = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-I", "-S", "-c", ask], stdout=subprocess.PIPE)
    return tuple(int(word) for word in done.stdout.split())


def test_the_users_folder_is_below_its_base_or_its_home():
    assert user_folder({}, "/home/ada", "3.11") == "/home/ada/.local/lib/python3.11/site-packages"
    assert user_folder({"PYTHONUSERBASE": "/u"}, "/home/ada", "3.11") == "/u/lib/python3.11/site-packages"
    assert user_folder({}, "", "3.11") == ""
    assert [user_site({}, *place) for place in ((False, True), (True, False), (True, True))] == [True, False, True]


def test_a_program_asks_for_no_other_variable_and_holds_values_as_literals():
    with pytest.raises(ValueError, match="does not ask for"):
        program(NONCE, {"variables": {"TOKEN": "x"}})
    text = program(NONCE, {"variables": {"HOME": "/a'\n\udcff\"", "PYTHONPATH": "x')\nraise SystemExit('"}})
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=text, stdout=subprocess.PIPE)

    assert parse_answer(done.stdout, NONCE)


def test_a_planted_environment_has_each_oddity_in_its_snapshot_and_none_of_its_code_ran(python, tmp_path):
    """What a model was trained beside, and what must not run when somebody looks at it."""
    made = subprocess.run(
        [python, "-I", "-m", "venv", "--without-pip", "--system-site-packages", str(tmp_path / "env")]
    )
    if made.returncode:
        pytest.skip(f"{python} cannot make virtual environments")
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    mark = tmp_path / "sprung"
    trap = f"import os; open({str(mark)!r}, 'a').close()\n"
    home, beside = tmp_path / "home", tmp_path / "beside"
    user = home / ".local" / "lib" / site.parent.name / "site-packages"
    for folder in (user, beside / "numpy", site / "numpy", site / "numpy-1.26.4.dist-info"):
        folder.mkdir(parents=True)
    (site / "evil.pth").write_text(trap)
    (site / "sitecustomize.py").write_text(trap)
    (user / "usercustomize.py").write_text(trap)
    (beside / "numpy" / "__init__.py").write_text(trap)
    (site / "numpy" / "__init__.py").write_text(trap)
    (site / "numpy-1.26.4.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 1.26.4\n\n")
    (site / "numpy-1.26.4.dist-info" / "RECORD").write_text("numpy/__init__.py,sha256=AAAA,3000\n")
    executable = str(tmp_path / "env" / "bin" / "python")
    variables = {"HOME": str(home), "PYTHONPATH": str(beside)}

    text = program(NONCE, {"verify_files": True, "variables": variables})
    done = subprocess.run([executable, "-I", "-S", "-"], input=text, stdout=subprocess.PIPE)
    facts = parse_answer(done.stdout, NONCE)
    pythons = [fact for fact in facts if fact["kind"] == "python"]
    (numpy,) = [fact for fact in facts if fact.get("location", "").startswith(str(site / "numpy"))]
    reasons = [fact["reason"] for fact in facts if fact["kind"] == "gap"]

    assert not mark.exists()
    (own,) = [fact for fact in pythons if "version" in fact]
    assert {str(site / "evil.pth"), str(site / "sitecustomize.py"), str(user / "usercustomize.py")} <= set(
        own["startup"]
    )
    assert own["user_site"] is True
    assert own["path"].index(str(site)) < own["path"].index(str(user))
    planted = [name for fact in pythons for name in fact.get("planted", ())]
    assert {"evil.pth", "sitecustomize.py", "usercustomize.py"} <= set(planted)
    assert (numpy["modified"], numpy["shadowed"]) == (["numpy/__init__.py"], True)
    assert any(str(beside / "numpy" / "__init__.py") in reason for reason in reasons)

    subprocess.run([executable, "-c", ""], env=variables)
    assert mark.exists(), "the trap does not spring: this test would prove nothing"
