"""
The project's chores. On a machine with Python >= 3.11 and git, nothing else is needed:

    python3 noxfile.py -s quickstart
    python3 noxfile.py -s tests

Whoever has nox types `nox -s ...`; whoever has uv, `uvx nox -s ...`. `python3 noxfile.py -l` lists the rest.
"""

import importlib.util
import os
import shutil
import ssl
import subprocess
import sys

# These few lines, down to `import nox`, are run by whatever Python is there: plain syntax, standard library only.
HERE = os.path.dirname(os.path.abspath(__file__))
OWN = os.path.join(HERE, ".nox-venv")
OWN_PYTHON = os.path.join(OWN, "bin", "python")
NEEDS = ["nox>=2025.2.9", "uv>=0.5"]


def complain(message, hint):
    """An error of this file's own: what is wrong, what to do, exit status 2."""
    sys.stderr.write("error: " + message + "\nhint: " + hint + "\n")
    sys.exit(2)


def own_environment_works():
    """Whether `.nox-venv` is whole: a stopped installation, or a Python that has gone since, leaves one that is not."""
    if not os.path.exists(OWN_PYTHON):
        return False
    return subprocess.call([OWN_PYTHON, "-I", "-c", "import nox, uv"], stderr=subprocess.DEVNULL) == 0


def make_own_environment():
    """
    Make `.nox-venv` with nox and uv in it.

    pip's own configuration on this machine is tried first (it may name the only index that can be reached), then none
    of it: an extra index that is gone, or `user = true`, must not end the story before it starts.
    """
    no_venv = (
        "this Python (%s) cannot make a virtual environment" % sys.executable,
        "on Debian or Ubuntu: sudo apt-get install python3-venv (or python3.%d-venv)" % sys.version_info[1],
    )
    # A bare Debian has `venv`, and not the `ensurepip` that it needs.
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        complain(*no_venv)
    sys.stderr.write("making .nox-venv with nox and uv in it (once) ...\n")
    shutil.rmtree(OWN, ignore_errors=True)
    kept = ("PIP_CERT", "PIP_PROXY", "PIP_INDEX_URL", "PIP_TRUSTED_HOST")
    configured = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    bare = {k: v for k, v in configured.items() if not k.startswith("PIP_") or k in kept}
    bare.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1")
    done = False
    try:
        if subprocess.call([sys.executable, "-m", "venv", OWN], stdout=sys.stderr) != 0:
            complain(*no_venv)
        install = [OWN_PYTHON, "-m", "pip", "install", "--quiet"] + NEEDS
        for environment in (configured, bare):
            done = subprocess.call(install, env=environment) == 0 and own_environment_works()
            if done:
                break
            if environment is configured:
                sys.stderr.write("pip could not install them as it is configured; trying without configuration ...\n")
    finally:
        if not done:
            shutil.rmtree(OWN, ignore_errors=True)
    if not done:
        complain(
            "nox and uv could not be installed into .nox-venv",
            "see pip's message above; or install nox another way and type `nox -s ...`",
        )


if sys.version_info < (3, 11):
    complain(
        "envparity needs Python 3.11 or newer, and %s is %d.%d" % ((sys.executable,) + sys.version_info[:2]),
        "start this file with a newer one, such as: python3.12 noxfile.py ...",
    )

if __name__ == "__main__":
    try:
        from nox.project import dependency_groups
    except ImportError:
        if not own_environment_works():
            make_own_environment()
        os.chdir(HERE)
        os.execv(OWN_PYTHON, [OWN_PYTHON, "-m", "nox", "-f", os.path.abspath(__file__)] + sys.argv[1:])

import nox
from nox.project import dependency_groups, load_toml

# What is started here is started hundreds of times: without byte code, each start would compile every library again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False

# uv trusts its own list of certificates, where pip is told of a company's by its configuration: let both trust the
# system's, where there is one.
TRUST = ssl.get_default_verify_paths()
if TRUST.cafile or (TRUST.capath and os.listdir(TRUST.capath)):
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")

IN_PARALLEL = ("-n", "2", "--dist", "loadgroup", "--durations", "15", "--durations-min", "1")
PROJECT = load_toml(os.path.join(HERE, "pyproject.toml"))
# N10: what the product never does. `yaml.safe_load` is not `yaml.load`; words in comments and docstrings do not count.
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput"}
FORBIDDEN_METHODS = {"extractall"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
# Sources become byte code there, which is written and never run; what it reads back it wrote itself.
COMPILING = ("image/compiling.py", {"compile", "marshal"})


def group(name):
    return dependency_groups(PROJECT, name)


def uv_program(session):
    """The path of uv: nox's own, one on PATH, or one that is installed for this session."""
    try:
        import uv

        return uv.find_uv_bin()
    except ImportError:
        found = shutil.which("uv")
    if found is None:
        session.install("uv")
        found = os.path.join(session.bin, "uv")
    return found


def pythons():
    """Every CPython >= 3.8 that this machine has, as {(3, 11): path}: on PATH, of pyenv and of uv."""
    import glob

    home = os.path.expanduser("~")
    pyenv = os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += sorted(glob.glob(os.path.join(pyenv, "versions", "3.*", "bin")))
    folders += sorted(glob.glob(os.path.join(data, "uv", "python", "cpython-3.*", "bin")))
    question = "import sys; sys.version_info.releaselevel == 'final' and print(sys.version_info[1], sys.executable)"
    found = {}
    for minor in range(8, 20):
        for folder in folders:
            candidate = os.path.join(folder, "python3.%d" % minor)
            if not os.access(candidate, os.X_OK):
                continue
            # A shim of pyenv answers to every name, and fails for the versions that are not switched on.
            answer = subprocess.run([candidate, "-I", "-c", question], capture_output=True, text=True, check=False)
            if answer.returncode == 0 and answer.stdout.split(" ", 1)[0] == str(minor):
                found[3, minor] = answer.stdout.split(" ", 1)[1].strip()
                break
    return found


def path_with(programs):
    """PATH, with the folders of these programs at its end."""
    return os.pathsep.join([os.environ.get("PATH", ""), *(os.path.dirname(program) for program in programs)])


@nox.session
def quickstart(session):
    """The story in seven steps, in the folder quickstart/. `-- --python 3.12` takes another Python."""
    session.install(".")
    session.run(
        "python",
        "-I",
        "examples/support_tickets/quickstart.py",
        "--uv",
        uv_program(session),
        *session.posargs,
        env={"PATH": path_with(pythons().values())},
        stderr=sys.stderr,  # nox would merge it into standard output, which is the transcript alone
    )


@nox.session
def tests(session):
    """The whole suite, then the collectors' own tests on every Python >= 3.8. `-- tests/oci -k name` runs a part."""
    session.install("-e", ".", *group("test"))
    environment = {"ENVPARITY_TEST_UV": uv_program(session)}
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs, env=environment)
        return
    session.run("python", "-m", "pytest", *IN_PARALLEL, env=environment)
    session.notify("collectors")


@nox.session
def coverage(session):
    """The whole suite with each line and branch counted, in every process; up to twice as long as `tests`."""
    session.install("-e", ".", *group("test"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *IN_PARALLEL, env={"ENVPARITY_TEST_UV": uv_program(session)})
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", "--skip-covered", "--skip-empty")


@nox.session
def collectors(session):
    """The collectors' own tests on every Python >= 3.8 that is here, side by side; `tests` ends with them."""
    session.install(*(name for name in group("test") if name.startswith("tox")))
    found = {"py3%d" % minor: path for (_, minor), path in pythons().items()}
    wanted = PROJECT["tool"]["tox"]["env_list"]
    here = [name for name in wanted if name in found]
    missing = [name for name in wanted if name not in found]
    environment = {"PATH": path_with(found[name] for name in here), "UV_PYTHON_DOWNLOADS": "never"}
    session.run("tox", "run-parallel", "--parallel-no-spinner", "-e", ",".join(here), env=environment)
    session.log("the collectors were tested on %s", ", ".join(here))
    if missing:
        session.log("skipped: the collectors on %s (this machine has no such Python)", ", ".join(missing))


@nox.session
def lint(session):
    """ruff, its format, and what the product must never do."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    faults = forbidden(os.path.join(HERE, "envparity"))
    if faults:
        session.error("the product must not do this:\n" + "\n".join(faults))


def forbidden(folder):
    """Every place below a folder of Python files that runs text as code, unpickles, unpacks blindly or uses a shell."""
    import ast
    from pathlib import Path

    faults = []
    for path in sorted(Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            said = name = None
            if isinstance(node, ast.Import):
                said = name = next((a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES), None)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                said = name = node.module if node.module.split(".")[0] in FORBIDDEN_MODULES else None
            elif isinstance(node, ast.Call):
                name = called = ast.unparse(node.func)
                if (
                    called in FORBIDDEN_NAMES | FORBIDDEN_CALLS
                    or called.rsplit(".", 1)[-1] in FORBIDDEN_METHODS
                    or any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords)
                ):
                    said = ast.unparse(node)
            if said and not (path.as_posix().endswith(COMPILING[0]) and name in COMPILING[1]):
                faults.append(f"{path.relative_to(HERE)}:{node.lineno}: {said}")
    return faults


@nox.session
def types(session):
    """mypy, strict."""
    session.install("-e", ".", *group("types"), "nox")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session):
    """Every console block of README.md and docs/ is run, and its output compared."""
    session.install("-e", ".", *group("test"))
    environment = {"ENVPARITY_TEST_UV": uv_program(session)}
    session.run("python", "-m", "pytest", "tests/test_readme.py", *session.posargs, env=environment)


@nox.session
def bench(session):
    """How long the verbs take, beside the tools that one knows. Figures go to docs/benchmarks.md."""
    session.install(".[fast,engine]", "pip")
    session.run("python", "-I", "tests/benchmarks/bench.py", "--uv", uv_program(session), *session.posargs)


@nox.session
def judged(session):
    """The whole pipeline for a real environment of 232 distributions, built, installed and verified: 10 GB."""
    session.install(".", "pip")
    session.run("python", "-I", "tests/benchmarks/judged.py", "--uv", uv_program(session), *session.posargs)


@nox.session
def lab(session):
    """What the releases of a library make of each other's models, into docs/lab/. `-- scikit-learn` measures one."""
    session.install("-e", ".")
    environment = {"PATH": path_with(pythons().values())}
    session.run("python", "tests/lab/run.py", "--uv", uv_program(session), *session.posargs, env=environment)


@nox.session
def build(session):
    """sdist and wheel, in dist/."""
    session.run(uv_program(session), "build", "--out-dir", "dist", external=True)


if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "-m", "nox", "-f", os.path.abspath(__file__), *sys.argv[1:]]))
