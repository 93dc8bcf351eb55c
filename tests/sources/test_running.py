"""
What only running code knows, of real libraries: numpy and scipy with an OpenBLAS each, scikit-learn with an OpenMP,
Intel's OpenMP beside it, and onnxruntime. What they say must be what threadpoolctl and the libraries themselves say.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envparity import codec, snapshot
from envparity.errors import UsageError
from envparity.sources import Options, read, running
from envparity.values import Basis, Environment, GapKind
from tests.tools import needs_uv, not_here

CHECKOUT = Path(snapshot.__file__).parents[1]
WHEELS = ("numpy>=2", "scipy", "scikit-learn", "threadpoolctl", "intel-openmp", "onnxruntime")
IMPORTS = "import numpy, scipy.linalg, sklearn, ctypes, sys\nctypes.CDLL(sys.prefix + '/lib/libiomp5.so')\n"
ORACLE = """
import json, threadpoolctl
print(json.dumps([threadpoolctl.threadpool_info(), numpy.show_config(mode="dicts")["SIMD Extensions"]]))
"""


@pytest.fixture(scope="module")
def ml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with these wheels."""
    folder = tmp_path_factory.mktemp("ml") / "venv"
    uv = needs_uv()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    done = subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(folder), *WHEELS], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        not_here(f"the index of packages cannot be reached ({done.stderr.strip().splitlines()[-1:]})")
    # Nothing below writes byte code; without any, each of a dozen starts would compile the libraries again.
    subprocess.run([str(folder / "bin/python"), "-c", IMPORTS], env={"PATH": os.environ["PATH"]}, check=True)
    return folder


def script(ml: Path, code: str, **variables: str) -> str:
    """The output of a script that runs there, with envparity's checkout and what it requires behind its own path."""
    own = [str(CHECKOUT), *(path for path in sys.path if path.endswith("site-packages"))]
    done = subprocess.run(
        [str(ml / "bin/python"), "-B", "-c", f"import sys; sys.path += {own!r}\n{code}"],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def taken_by(ml: Path, folder: Path, code: str, **variables: str) -> Environment:
    path = folder / "inside.env.json"
    script(ml, f"{code}\nfrom envparity import snapshot\nsnapshot.take({str(path)!r}, strict=True)", **variables)
    return codec.load_environment(path.read_bytes(), "it")


def of_deep(ml: Path, *models: Path, **variables: str) -> Environment:
    environ = {"PATH": os.environ["PATH"], **variables}
    return snapshot.of(f"venv:{ml}", models=models, options=Options(environ=environ, deep=True))


def asked(environment: Environment) -> set[tuple[Any, ...]]:
    assert environment.numerics is not None
    return {
        (item.name, item.threads, item.kernel, item.layer, item.version if item.product == "openblas" else "")
        for item in environment.numerics.libraries
    }


def said_by_threadpoolctl(information: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {
        (
            Path(item["filepath"]).name,
            item["num_threads"],
            item.get("architecture") or "",
            item.get("threading_layer") or "",
            item["version"] or "",
        )
        for item in information
    }


def test_inside_every_copy_says_what_threadpoolctl_says(ml: Path, tmp_path: Path) -> None:
    """Two OpenBLAS and two OpenMP in one process: threads, kernel, layer and version of each."""
    threadpools, simd = json.loads(script(ml, IMPORTS + ORACLE, OPENBLAS_NUM_THREADS="1"))

    environment = taken_by(ml, tmp_path, IMPORTS, OPENBLAS_NUM_THREADS="1")

    assert environment.numerics is not None
    assert len(threadpools) == 4
    assert asked(environment) == said_by_threadpoolctl(threadpools)
    (dispatch,) = environment.numerics.dispatch
    assert dispatch.library == "numpy"
    assert set(dispatch.baseline) == set(simd["baseline"])
    assert set(dispatch.found) == set(simd.get("found", ()))


def test_the_probe_of_deep_says_the_same(ml: Path) -> None:
    environment = of_deep(ml)
    threadpools, _ = json.loads(script(ml, "import numpy, scipy.linalg, sklearn" + ORACLE))

    assert asked(environment) == said_by_threadpoolctl(threadpools)
    assert environment.numerics is not None
    assert environment.numerics.seeds == ()  # a process that trained nothing has none worth a word
    assert not {gap.section for gap in environment.gaps} & {"numerics", "modules", "native_libraries"}


def test_what_is_loaded_is_told_apart_from_what_lies_there(ml: Path, tmp_path: Path) -> None:
    environment = taken_by(ml, tmp_path, "import numpy")

    loaded = {item.owner: item.basis for item in environment.native_libraries or () if item.product == "openblas"}
    assert loaded == {"numpy": Basis.LOADED, "scipy": Basis.INSTALLED}
    known = {item.name: item.loaded for item in environment.distributions or ()}
    assert (known["numpy"], known["scipy"], known["scikit-learn"]) == (True, False, False)
    assert {item.name: item.owner for item in environment.modules or () if item.name == "numpy"} == {"numpy": "numpy"}


def test_files_alone_tell_the_copies_their_versions_and_owners(ml: Path, tmp_path: Path) -> None:
    inside = taken_by(ml, tmp_path, IMPORTS)

    outside = read(f"venv:{ml}")

    copies = {
        (item.product, item.owner_kind, item.owner)
        for item in outside.native_libraries or ()
        if item.owner_kind == "wheel"
    }
    assert copies == {
        ("openblas", "wheel", "numpy"),
        ("openblas", "wheel", "scipy"),
        ("libgomp", "wheel", "scikit-learn"),
        ("libiomp", "wheel", "intel-openmp"),
    }
    assert inside.numerics is not None
    told = {item.owner: item.version for item in inside.numerics.libraries if item.product == "openblas"}
    seen = {item.owner: item.version for item in outside.native_libraries or () if item.product == "openblas"}
    assert {owner: seen[owner] for owner in told} == told
    assert outside.numerics is None
    assert {gap.section: gap.reason for gap in outside.gaps}["numerics"] == running.HOW


def test_a_switched_off_instruction_set_is_recorded(ml: Path, tmp_path: Path) -> None:
    """K14: the same environment and host, and 125,930 of 320,000 exponentials differ."""
    plain = taken_by(ml, tmp_path, "import numpy")
    assert plain.numerics is not None
    (dispatch,) = plain.numerics.dispatch
    if not dispatch.found:
        not_here("this processor has nothing that numpy would choose at run time")

    less = taken_by(ml, tmp_path, "import numpy", NPY_DISABLE_CPU_FEATURES=dispatch.found[-1])

    assert less.numerics is not None
    assert dispatch.found[-1] in less.numerics.dispatch[0].disabled
    assert dispatch.found[-1] not in less.numerics.dispatch[0].found


def test_every_switch_of_a_real_library_is_found_where_the_table_says(ml: Path, tmp_path: Path) -> None:
    """What the newest versions renamed would be missing here, and be a gap."""
    code = "import onnxruntime, sklearn, numpy\nsklearn.set_config(assume_finite=True)"
    providers = script(ml, "import onnxruntime; print(', '.join(onnxruntime.get_available_providers()))").strip()

    environment = taken_by(ml, tmp_path, code)

    assert environment.numerics is not None
    switches = {item.name: item.value for item in environment.numerics.switches}
    assert switches["onnxruntime.get_available_providers"] == providers
    assert switches["sklearn.assume_finite"] == "True"
    assert [gap for gap in environment.gaps if gap.section == "numerics"] == []


def test_two_trainings_that_drew_the_same_numbers_end_in_the_same_seeds(ml: Path, tmp_path: Path) -> None:
    code = "import numpy.random, random\nrandom.seed(7)\nnumpy.random.seed(7)\nnumpy.random.rand({})"
    first, again, further = (taken_by(ml, tmp_path, code.format(drawn)).numerics for drawn in (3, 3, 4))

    assert first is not None
    assert again is not None
    assert further is not None
    seeds, other = ({item.name: item.value for item in numerics.seeds} for numerics in (first, further))
    assert seeds.keys() == {"numpy.random", "python.random"}
    assert first.seeds == again.seeds
    assert seeds["python.random"] == other["python.random"]
    assert seeds["numpy.random"] != other["numpy.random"]


def test_the_taking_imports_no_library_and_loads_none(ml: Path, tmp_path: Path) -> None:
    """
    A look that changes what it looks at is worth nothing; and who does not use a library must not pay for it. What
    envparity itself requires is none of the model's.
    """
    code = f"""
import numpy, packaging.requirements, packaging.tags
mapped = lambda: {{line.split()[-1] for line in open("/proc/self/maps") if line.split()[-1].startswith({str(ml)!r})}}
from envparity import snapshot
before, files = set(sys.modules), mapped()
snapshot.take({str(tmp_path / "it.env.json")!r}, strict=True)
print(sorted(name for name in set(sys.modules) - before if getattr(sys.modules[name], "__file__", None)
    and sys.modules[name].__file__.startswith({str(ml)!r})), sorted(mapped() - files))
"""
    assert script(ml, code) == "[] []\n"


def test_a_preloaded_library_and_a_shadowed_package_are_in_the_snapshot(ml: Path, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or not_here("gcc is not installed")
    (tmp_path / "odd.c").write_text("double exp(double x) { return 1; }")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "libodd.so", tmp_path / "odd.c"], check=True)
    (tmp_path / "own/threadpoolctl").mkdir(parents=True)
    (tmp_path / "own/threadpoolctl/__init__.py").write_text("")
    code = f"sys.path.insert(0, {str(tmp_path / 'own')!r})\nimport threadpoolctl"

    environment = taken_by(ml, tmp_path, code, LD_PRELOAD=str(tmp_path / "libodd.so"))

    (library,) = [item for item in environment.native_libraries or () if item.name == "libodd.so"]
    assert (library.overridden_by, library.owner, library.basis) == ("LD_PRELOAD", "", Basis.LOADED)
    (module,) = [item for item in environment.modules or () if item.name == "threadpoolctl"]
    assert (module.owner, module.file) == ("", str(tmp_path / "own/threadpoolctl/__init__.py"))
    assert {item.name: item.loaded for item in environment.distributions or ()}["threadpoolctl"] is False


def test_deep_uses_the_site_and_the_environment_of_the_target(ml: Path, tmp_path: Path) -> None:
    """Without them another code may be loaded than in production: `PYTHONPATH` and the variables of OpenMP count."""
    (tmp_path / "faiss.py").write_text("import numpy\n")

    environment = of_deep(ml, PYTHONPATH=str(tmp_path), OPENBLAS_NUM_THREADS="1")

    assert environment.numerics is not None
    assert {item.threads for item in environment.numerics.libraries if item.product == "openblas"} == {1}
    assert "faiss" in {item.name for item in environment.modules or ()}


def test_deep_imports_what_the_model_refers_to(ml: Path, tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("class Words: pass\n")
    (tmp_path / "model.pkl").write_bytes(b"cfeatures\nWords\n.")

    environment = of_deep(ml, tmp_path / "model.pkl", PYTHONPATH=str(tmp_path))
    without = of_deep(ml, tmp_path / "model.pkl")

    (module,) = [item for item in environment.modules or () if item.name == "features"]
    assert module.owner == ""
    assert [(gap.kind, gap.item) for gap in without.gaps if gap.section == "numerics"] == [(GapKind.UNREAD, "features")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "signal 6"),
        ("import os; os._exit(7)", "status 7"),
        ("import time; time.sleep(60)", "did not finish"),
        ("import os; os._exit(0)", "no answer"),
    ],
)
def test_a_target_that_breaks_down_leaves_what_its_files_say(ml: Path, tmp_path: Path, code: str, said: str) -> None:
    """A library that ends the process when it is imported must not cost the rest of the snapshot."""
    (tmp_path / "numpy.py").write_text(code)
    environ = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}

    environment = read(
        f"venv:{ml}", options=Options(environ=environ, deep=True, timeout_s=5 if "sleep" in code else 60)
    )

    assert environment.distributions
    gaps = {gap.section: gap for gap in environment.gaps if gap.kind is GapKind.UNREAD}
    assert gaps.keys() == {"numerics", "modules"}
    assert said in gaps["numerics"].reason
    assert not environment.complete


def test_deep_leaves_no_file_behind(ml: Path, tmp_path: Path) -> None:
    (tmp_path / "faiss.py").write_text("")

    of_deep(ml, PYTHONPATH=str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["faiss.py"]


def test_deep_needs_a_live_interpreter(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==2.0\n")

    with pytest.raises(UsageError, match="--deep") as caught:
        snapshot.of(str(tmp_path / "requirements.txt"), options=Options(deep=True))

    assert "venv:DIR" in caught.value.hint


def test_a_saved_snapshot_is_no_live_interpreter_and_tells_of_no_folder_of_ours(tmp_path: Path) -> None:
    """It says of itself that it was read live; that was then, and somewhere else."""
    place = tmp_path / "model.env.json"
    snapshot.write(snapshot.of(f"python:{sys.executable}", options=Options(base_dir=tmp_path)), place)

    with pytest.raises(UsageError, match="--deep"):
        snapshot.of(str(place), options=Options(deep=True))
    assert snapshot.of(str(place)) == codec.load_environment(place.read_bytes(), "it")


def test_a_copy_that_another_package_carries_is_not_loaded_because_its_namesake_is() -> None:
    """pip's own `certifi` lies there; what the process imported is the one beside it."""
    copies = [{"kind": "distribution", "name": "certifi", **more} for more in ({}, {"vendored_in": "pip"})]
    told = [
        {"kind": "section", "section": "modules"},
        {"kind": "module", "name": "certifi", "owner": "certifi"},
    ]

    facts = running.together(copies, told)

    assert [fact["loaded"] for fact in facts if fact["kind"] == "distribution"] == [True, False]


def test_what_a_process_found_altered_is_told_of_the_distribution_that_it_belongs_to(tmp_path: Path) -> None:
    """conda and Debian rewrite what they install: of theirs another size says nothing."""
    (tmp_path / "link").symlink_to(tmp_path)
    files: list[dict[str, Any]] = [
        {"kind": "distribution", "name": "one", "location": str(tmp_path / "link/one-1.dist-info"), "installer": "pip"},
        {"kind": "distribution", "name": "two", "location": str(tmp_path / "two-1.dist-info"), "modified": ["a.py"]},
        {"kind": "distribution", "name": "three", "location": str(tmp_path / "3.dist-info"), "installer": "conda"},
        {"kind": "distribution", "name": "four", "location": str(tmp_path / "4.dist-info")},
    ]
    told = [
        {"kind": "section", "section": "modules"},
        {"kind": "altered", "location": str(tmp_path / "one-1.dist-info"), "path": "one.py"},
        {"kind": "altered", "location": str(tmp_path / "two-1.dist-info"), "path": "b.so"},
        {"kind": "altered", "location": str(tmp_path / "3.dist-info"), "path": "three.py"},
    ]

    facts = list(running.together(files, told))

    modified = {fact["name"]: fact.get("modified") for fact in facts if fact["kind"] == "distribution"}
    assert modified == {"one": ["one.py"], "two": ["a.py", "b.so"], "three": None, "four": None}
    assert {fact["kind"] for fact in facts} == {"distribution", "section"}
