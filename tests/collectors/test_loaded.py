"""What a running process says of itself: its modules, its libraries, what stands before the loader's own choice."""

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from envparity.collectors.imported import imported
from envparity.collectors.numerics import built_in_libraries, numeric_libraries
from envparity.collectors.process_maps import mapped_files
from envparity.collectors.record_owners import Owners
from envparity.collectors.switch_table import SWITCHES
from envparity.collectors.switches import _has, switches
from envparity.collectors.tree import LocalTree

ROOT = Path(__file__).resolve().parents[2]
# A process that says what it has loaded, with envparity's folder standing in for the package.
SAYS = """
import json, sys, types
package = types.ModuleType("envparity")
package.__path__ = [{!r}]
sys.modules["envparity"] = package
from envparity.collectors.loaded import loaded
print(json.dumps(loaded(("envparity",))))
""".format(str(ROOT / "envparity"))


def said_by(code, path=(), **variables):
    """What a fresh process that runs this code says of itself then."""
    environ = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, path)), PYTHONDONTWRITEBYTECODE="1", **variables)
    done = subprocess.run([sys.executable, "-c", code + "\n" + SAYS], env=environ, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode())


def compiled(folder, name, text, *options):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    source = folder / (name + ".c")
    source.write_text(text)
    library = folder / name
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), *options], check=True)
    return library


def libraries(facts):
    return {fact["path"]: fact for fact in facts if fact["kind"] == "native-library"}


def modules(facts):
    return {fact["name"]: fact for fact in facts if fact["kind"] == "module"}


MAPS = """\
55d0c8a00000-55d0c8a01000 r--p 00000000 fe:00 10   /usr/bin/python3.11
55d0c8a01000-55d0c8a02000 r-xp 00001000 fe:00 10   /usr/bin/python3.11
7f0000000000-7f0000001000 r--p 00000000 fe:00 11   /data/features.bin
7f0000002000-7f0000003000 r-xp 00000000 fe:00 12   /opt/a folder/libx.so.1
7f0000003000-7f0000004000 r-xp 00001000 fe:00 12   /opt/a folder/libx.so.1
7f0000004000-7f0000005000 r-xp 00000000 fe:00 13   /opt/gone.so (deleted)
7f0000005000-7f0000006000 rwxp 00000000 00:01 14   /memfd:jit (deleted)
7f0000006000-7f0000007000 r-xp 00000000 00:00 0
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0    [vdso]
"""


def test_the_files_that_are_mapped_as_code_are_libraries():
    """Data that is mapped, the code of a just-in-time compiler and the kernel's own page are none."""
    assert mapped_files(MAPS) == ["/usr/bin/python3.11", "/opt/a folder/libx.so.1", "/opt/gone.so (deleted)"]
    assert mapped_files("") == mapped_files("broken\n\n1 2 3") == []


def test_a_preloaded_library_is_named_with_the_variable_that_brought_it(tmp_path):
    """A mathematics library that is put before all others changes every number, and stands in no list of packages."""
    library = compiled(tmp_path, "libodd.so", "double exp(double x) { return 1; }")
    plain = compiled(tmp_path, "hook", "int hook;")

    facts = libraries(said_by("", LD_PRELOAD=f"{library} {plain}"))

    for path in (str(library), str(plain)):
        assert facts[path]["overridden_by"] == "LD_PRELOAD"
        assert (facts[path]["basis"], facts[path]["owner"], facts[path]["owner_kind"]) == ("loaded", "", "")
    assert libraries(said_by("")).keys().isdisjoint({str(library), str(plain)})


def test_an_auditor_of_the_loader_is_named_with_its_variable(tmp_path):
    """It is asked for every library that is looked for, and may give another one (rtld-audit(7))."""
    auditor = compiled(tmp_path, "libaudit.so", "unsigned la_version(unsigned version) { return version; }")

    facts = libraries(said_by("", LD_AUDIT=str(auditor)))

    assert facts[str(auditor)]["overridden_by"] == "LD_AUDIT"


def test_what_the_library_path_brought_in_is_named_with_it(tmp_path):
    compiled(tmp_path, "libodd.so", "int odd;")

    facts = libraries(said_by("import ctypes; ctypes.CDLL('libodd.so')", LD_LIBRARY_PATH=str(tmp_path)))

    assert facts[str(tmp_path / "libodd.so")]["overridden_by"] == "LD_LIBRARY_PATH"


def test_a_library_that_was_replaced_under_a_running_process_is_unread(tmp_path):
    """What runs is not what lies there: a look at the disk would describe the wrong file."""
    library = compiled(tmp_path, "libodd.so", "int odd;")

    facts = said_by(f"import ctypes, os; ctypes.CDLL({str(library)!r}); os.unlink({str(library)!r})")

    assert [(fact["gap"], fact["item"]) for fact in facts if fact["kind"] == "gap"] == [("unread", str(library))]
    assert libraries(facts)[str(library)]["basis"] == "loaded"


def test_the_c_library_is_mapped_with_its_build_id_and_its_package():
    facts = libraries(said_by(""))
    (libc,) = [fact for fact in facts.values() if fact["name"].startswith(("libc.so", "ld-musl"))]

    assert libc["build_id"]
    if Path("/var/lib/dpkg/info").is_dir():
        assert (libc["owner_kind"], libc["owner"]) == ("dpkg", "libc6")
    assert all(fact["owner"] or fact["owner_kind"] == "rpm" for fact in facts.values()), (
        "this Python owns its own files"
    )


def installed(site, name, files, version="1.0"):
    """A distribution of these files, as an installer would leave it."""
    info = site / (f"{name}-{version}.dist-info")
    info.mkdir(parents=True)
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    return site


def test_a_module_has_the_owner_whose_record_lists_its_file(tmp_path):
    site = installed(tmp_path / "site", "demo", {"demo/__init__.py": "", "demo/part.py": "", "demo_extra.py": ""})
    (site / "demo" / "patched.py").write_text("")
    own = tmp_path / "project"
    own.mkdir()
    (own / "features.py").write_text("")

    facts = modules(said_by("import demo.part, demo.patched, demo_extra, features, colorsys", [site, own]))

    assert facts["demo"] == {
        "kind": "module",
        "name": "demo",
        "file": str(site / "demo" / "__init__.py"),
        "owner": "demo",
        "count": 2,
    }
    assert facts["demo_extra"]["owner"] == "demo"
    # Somebody put a file into the folder of a package: that is said, and not that the package owns it.
    assert (facts["demo.patched"]["owner"], facts["demo.patched"]["count"]) == ("", 1)
    assert (facts["features"]["owner"], facts["features"]["file"]) == ("", str(own / "features.py"))
    assert facts["colorsys"] == {"kind": "module", "name": "colorsys", "file": "", "owner": "stdlib", "count": 1}
    assert facts["sys"]["owner"] == "built-in"
    assert "demo.part" not in facts
    assert not [name for name in facts if name.startswith("envparity")]


def test_a_copy_that_shadows_an_installed_package_is_owned_by_nobody(tmp_path):
    """`numpy/` beside the training script wins every import, and pip list shows the other one."""
    site = installed(tmp_path / "site", "demo", {"demo/__init__.py": ""})
    (tmp_path / "own" / "demo").mkdir(parents=True)
    (tmp_path / "own" / "demo" / "__init__.py").write_text("")

    facts = modules(said_by("import demo", [tmp_path / "own", site]))

    assert (facts["demo"]["owner"], facts["demo"]["file"]) == ("", str(tmp_path / "own" / "demo" / "__init__.py"))


def test_two_owners_share_a_namespace(tmp_path):
    site = installed(tmp_path / "site", "demo-one", {"space/one/__init__.py": "", "space/one/deep.py": ""})
    installed(site, "demo-two", {"space/two.py": ""})

    facts = modules(said_by("import space.one.deep, space.two", [site]))

    assert "space" not in facts
    assert [(facts[name]["owner"], facts[name]["count"]) for name in ("space.one", "space.two")] == [
        ("demo-one", 2),
        ("demo-two", 1),
    ]


def test_an_editable_installation_owns_what_lies_in_its_folder(tmp_path):
    site = installed(tmp_path / "site", "demo", {"demo.pth": str(tmp_path / "source")})
    address = {"url": (tmp_path / "source").as_uri(), "dir_info": {"editable": True}}
    (site / "demo-1.0.dist-info" / "direct_url.json").write_text(json.dumps(address))
    old = tmp_path / "old"
    (old / "legacy-2.0.egg-info").mkdir(parents=True)
    (old / "legacy-2.0.egg-info" / "top_level.txt").write_text("legacy\nlegacy_one\n")
    owners = Owners(LocalTree(), [str(site), str(old)], [], "/usr/lib/python3")

    assert owners.distribution(str(tmp_path / "source" / "demo" / "x.py")) == ("wheel", "demo", "1.0")
    assert owners.distribution(str(old / "legacy" / "x.py")) == ("wheel", "legacy", "2.0")
    assert owners.distribution(str(old / "legacy_one.py")) == ("wheel", "legacy", "2.0")
    assert owners.distribution(str(old / "other.py")) == ("", "", "")


def test_a_loaded_file_of_another_size_than_it_was_installed_with_is_altered(tmp_path):
    """Somebody patched a library in its place: what is loaded is not the release that its metadata names."""
    site = tmp_path / "site"
    (site / "demo").mkdir(parents=True)
    for name in ("__init__.py", "same.py", "patched.py", "idle.py", "unsized.py", "gone.py", "data.txt"):
        (site / "demo" / name).write_text("x = 1\n")
    sized = ("__init__.py", "same.py", "patched.py", "idle.py", "gone.py", "data.txt")
    rows = [f"demo/{name},,6" for name in sized]
    (site / "demo-1.0.dist-info").mkdir()
    (site / "demo-1.0.dist-info" / "METADATA").write_text("Name: demo\nVersion: 1.0\n")
    (site / "demo-1.0.dist-info" / "RECORD").write_text("\n".join([*rows, "demo/unsized.py,,", ""]))
    (tmp_path / "link").symlink_to(site)
    for name in ("patched.py", "idle.py", "unsized.py", "data.txt"):
        (site / "demo" / name).write_text("x = 1 + 1\n")

    facts = said_by(
        "import demo.same, demo.patched, demo.unsized, demo.gone, os; os.remove(demo.gone.__file__)",
        [tmp_path / "link"],
    )

    place = str(site / "demo-1.0.dist-info")
    assert [fact for fact in facts if fact["kind"] == "altered"] == [
        {"kind": "altered", "location": place, "path": "demo/patched.py"}
    ]


def test_modules_without_a_file_and_odd_ones_do_not_trouble_it():
    """Libraries put anything into `sys.modules`: lazy objects that import when they are asked, None, numbers."""

    class Lazy(types.ModuleType):
        def __getattr__(self, name):
            raise AssertionError("nobody may ask for " + name)

    odd = types.ModuleType("odd")
    odd.__file__ = 7
    facts = list(
        imported(
            {"lazy": Lazy("lazy"), "none": None, "number": 3, "odd": odd, "__mp_main__": odd},
            Owners(LocalTree(), [], [], "/usr/lib/python3"),
        )
    )

    assert facts == [{"kind": "section", "section": "modules"}]


def package(name, **contents):
    made = types.ModuleType(name)
    vars(made).update(contents)
    return made


def told(modules, environ=None):
    facts = list(switches(modules, environ or {}))
    (numerics,) = [fact for fact in facts if fact["kind"] == "numerics"]
    return (
        {item["name"]: item["value"] for item in numerics["switches"]},
        [f for f in facts if f["kind"] == "gap"],
        numerics,
    )


def test_the_switches_of_what_is_imported_are_told_and_nothing_else_is_imported():
    class Matmul:
        allow_tf32 = True

    cuda = package("torch.backends.cuda", matmul=Matmul())
    torch = package("torch", get_default_dtype=lambda: "torch.float32", get_num_threads=lambda: 2)
    before = set(sys.modules)

    found, gaps, _ = told({"torch": torch, "torch.backends": package("torch.backends"), "torch.backends.cuda": cuda})

    assert found == {
        "torch.get_default_dtype": "torch.float32",
        "torch.get_num_threads": "2",
        "torch.backends.cuda.matmul.allow_tf32": "True",
    }
    assert gaps == []
    assert set(sys.modules) == before


class Places:
    """An object of a library, whose attributes are found and nothing else."""


def stand_in(library, recorded):
    """A library that holds what the real one was seen to hold, at the same places; and the modules of it."""
    modules = {library: types.ModuleType(library)}
    for name in recorded["modules"]:
        modules[name] = types.ModuleType(name)
    for name in recorded["modules"]:
        parent, _, last = name.rpartition(".")
        if parent in modules and name != "tensorflow.python":  # which tensorflow hides, though it is imported
            setattr(modules[parent], last, modules[name])
    calls = {}
    for place, value in recorded["places"].items():
        path, call, rest = place.partition("(")
        *above, last = path.split(".")
        at, so_far = modules[library], above[0]
        for part in above[1:]:
            so_far += "." + part
            if so_far not in modules and not hasattr(at, part):
                setattr(at, part, Places())
            at = modules.get(so_far) or getattr(at, part)
        if not call:
            setattr(at, last, value)
            continue
        argument, _, key = rest.partition(")")
        answers = calls.setdefault(path, {})
        if key:
            answers.setdefault("", {})[key.strip("[]")] = value
        else:
            answers[argument] = value
        setattr(at, last, lambda argument="", answers=answers: answers[argument])
    return modules


RECORDED = json.loads((ROOT / "tests/data/switches.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
def test_every_switch_is_read_where_the_real_library_has_it(name):
    """
    `switches.json` was recorded from the real libraries, after they had computed something (jax), or had been given a
    policy (keras). A line of the table that does not lead to a place there leads nowhere.
    """
    library, version = name.split()
    modules = stand_in(library, RECORDED[name])
    vars(modules[library])["__version__"] = version

    found, gaps, _ = told(modules)

    assert sorted(found.values()) == sorted(RECORDED[name]["places"].values())
    assert gaps == []
    newest = max(other for other in RECORDED if other.startswith(library + " "))
    lines = [line.split() for line in SWITCHES[library].strip().split("\n")]
    named = {library + "." + how for how, *since in lines if "-" not in "".join(since[:1])}
    if name == newest:
        assert named <= RECORDED[name]["places"].keys()


def test_a_switch_that_its_version_should_have_and_has_not_is_no_fault_of_the_snapshot():
    """A library renames what it likes; the snapshot of a training is complete all the same, and says what it lacks."""
    new = package("onnxruntime", __version__="9.0.0rc1", get_available_providers=lambda: ["CPU"])
    old = package("onnxruntime", __version__="1.2.0", get_available_providers=lambda: ["CPU"])

    found, gaps, _ = told({"onnxruntime": new})
    found_of_old, gaps_of_old, _ = told({"onnxruntime": old})

    assert found == found_of_old == {"onnxruntime.get_available_providers": "CPU"}
    assert [(gap["gap"], gap["item"], gap["reason"]) for gap in gaps] == [
        ("not-recorded", "onnxruntime.get_device", "onnxruntime 9.0.0rc1 does not have it")
    ]
    assert gaps_of_old == []


@pytest.mark.parametrize(
    ("version", "known", "has"),
    [
        ("1.9", "1.9", True),
        ("1.10.0", "1.9", True),
        ("1.8.2", "1.9", False),
        ("2.13.0+cpu", "2.13", True),
        ("2.1.3", "2.0-2.1", True),
        ("2.2.0", "2.0-2.1", False),
        ("unknown", "1.0", False),
        ("", "1.0", False),
    ],
)
def test_versions_are_compared_by_their_numbers(version, known, has):
    assert _has(version, known) is has


def test_a_library_without_a_version_has_no_gap_for_what_it_may_not_have():
    found, gaps, _ = told({"torch": package("torch", __version__=None)})

    assert (found, gaps) == ({}, [])


def test_what_a_library_has_not_decided_yet_is_passed_over():
    """jax chooses its platform when it first computes; to ask it would make it choose, and start a GPU."""
    bridge = package("jax._src.xla_bridge", _default_backend=None)
    jax = package("jax", __version__="0.10.2", _src=package("jax._src", xla_bridge=bridge), config=Places())

    found, gaps, _ = told({"jax": jax, "jax._src": jax._src, "jax._src.xla_bridge": bridge})

    assert found == {}
    assert "jax._src.xla_bridge._default_backend.platform" not in {gap["item"] for gap in gaps}


def test_an_object_that_hides_the_module_of_its_name_is_the_one_that_counts():
    """Until 0.4.24 `jax.config` was both: the object that everybody uses, and a module beside it."""
    config = Places()
    config.jax_enable_x64 = True
    jax = package("jax", __version__="0.4.20", config=config)

    found, _, _ = told({"jax": jax, "jax.config": package("jax.config")})

    assert found == {"jax.config.jax_enable_x64": "True"}


def test_a_switch_that_refuses_is_no_gap_where_another_says_the_same():
    """torch 2.13, after `torch.backends.cuda.matmul.fp32_precision` was set, raises this for the older question."""

    def refuses():
        raise RuntimeError("you have used mix of the legacy and new APIs to set the matmul precision")

    matmul = Places()
    matmul.fp32_precision = "ieee"
    cuda = package("torch.backends.cuda", matmul=matmul)
    backends = package("torch.backends", cuda=cuda)
    torch = package("torch", get_float32_matmul_precision=refuses, backends=backends)

    found, gaps, _ = told({"torch": torch, "torch.backends": backends, "torch.backends.cuda": cuda})

    assert found == {"torch.backends.cuda.matmul.fp32_precision": "ieee"}
    assert gaps == []


def test_a_switch_that_fails_is_a_gap_and_hides_no_other():
    def broken():
        raise RuntimeError("mixed use of the old and the new API")

    found, gaps, _ = told({"torch": package("torch", get_default_dtype=broken, get_num_threads=lambda: 4)})

    assert found == {"torch.get_num_threads": "4"}
    assert [(gap["gap"], gap["item"]) for gap in gaps] == [("unread", "torch.get_default_dtype")]
    assert "mixed use" in gaps[0]["reason"]


def test_options_by_name_and_lists_are_spelt_as_text():
    found, _, _ = told(
        {
            "sklearn": package("sklearn", get_config=lambda: {"assume_finite": True}),
            "pandas": package("pandas", get_option={"mode.copy_on_write": False}.__getitem__),
            "onnxruntime": package("onnxruntime", get_available_providers=lambda: ["CUDA", "CPU"]),
        }
    )

    assert found == {
        "sklearn.assume_finite": "True",
        "pandas.mode.copy_on_write": "False",
        "onnxruntime.get_available_providers": "CUDA, CPU",
    }


def test_the_instructions_that_numpy_was_told_not_to_use_are_disabled():
    core = package(
        "numpy._core._multiarray_umath",
        __cpu_features__={"SSE2": True, "AVX2": True, "AVX512F": False, "FMA3": False},
        __cpu_baseline__=["SSE2"],
        __cpu_dispatch__=["AVX2", "FMA3", "AVX512F"],
    )
    modules = {"numpy._core._multiarray_umath": core}

    _, _, numerics = told(modules, {"NPY_DISABLE_CPU_FEATURES": "FMA3,NOSUCH"})
    _, _, only = told(modules, {"NPY_ENABLE_CPU_FEATURES": "AVX2"})

    expected = {"library": "numpy", "baseline": ["SSE2"], "found": ["AVX2"], "disabled": ["FMA3"]}
    assert numerics["dispatch"] == [expected]
    assert only["dispatch"] == [dict(expected, disabled=["FMA3", "AVX512F"])]


def test_a_library_that_is_not_loaded_is_never_loaded_to_be_asked(tmp_path):
    """RTLD_NOLOAD: the look must not change what it looks at."""
    library = compiled(tmp_path, "libgomp.so.1", "int omp_get_max_threads(void) { return 3; }")
    file = {"path": str(library), "name": library.name, "product": "libgomp", "role": "openmp", "owner": ""}

    gap, numerics = list(numeric_libraries([file]))

    assert (gap["section"], gap["gap"], gap["item"]) == ("numerics", "unread", str(library))
    assert numerics["libraries"] == []
    assert str(library) not in Path("/proc/self/maps").read_text()


def test_a_library_is_asked_through_its_own_functions_under_their_other_names(tmp_path):
    openblas = compiled(
        tmp_path,
        "libopenblas64_.so",
        'char *scipy_openblas_get_config64_(void) { return "OpenBLAS 0.3.30 DYNAMIC_ARCH"; }\n'
        'char *scipy_openblas_get_corename64_(void) { return "Haswell"; }\n'
        "int scipy_openblas_get_parallel64_(void) { return 1; }\n"
        "int scipy_openblas_get_num_threads64_(void) { return 8; }\n",
    )
    blis = compiled(
        tmp_path,
        "libblis.so.4",
        'char *bli_info_get_version_str(void) { return "0.9.0"; }\n'
        'int bli_arch_query_id(void) { return 4; }\nchar *bli_arch_string(int id) { return id == 4 ? "zen3" : "no"; }\n'
        "int bli_thread_get_num_threads(void) { return -1; }\nint bli_info_get_enable_openmp(void) { return 1; }\n",
    )
    mkl = compiled(tmp_path, "libmkl_rt.so.2", "int abort(void); int MKL_Get_Max_Threads(void) { return abort(); }\n")
    code = "import ctypes; [ctypes.CDLL(path) for path in %r]" % [str(openblas), str(blis), str(mkl)]

    (numerics,) = [fact for fact in said_by(code) if fact["kind"] == "numerics" and "libraries" in fact]

    keys = ("product", "version", "kernel", "layer", "threads")
    assert sorted(tuple(item.get(key) for key in keys) for item in numerics["libraries"]) == [
        ("blis", "0.9.0", "zen3", "openmp", 1),
        # Of MKL only half is there: to ask it would be its first use, at which it loads the other half.
        ("mkl", "", None, None, None),
        ("openblas", "0.3.30", "Haswell", "pthreads", 8),
    ]


# What oneMKL 2026.2 says of itself. In lower case its functions are Fortran's, which take addresses.
MKL = """
#include <string.h>
#include <stdlib.h>
void MKL_Get_Version_String(char *to, int length) {
    strncpy(to, "Intel(R) oneAPI Math Kernel Library Version 2026.2-Product Build 20260915 for Intel(R) 64 "
        "architecture applications", length);
}
int MKL_Get_Max_Threads(void) { return 6; }
int MKL_CBWR_Get(int what) { return what == -1 ? 0x10000 | 3 : -2; }
int mkl_cbwr_get(int *what) { abort(); }
int mkl_get_max_threads(int *what) { abort(); }
"""


@pytest.mark.parametrize(
    ("interface", "named"), [("libmkl_rt.so.3", "libmkl_rt.so.3"), ("libmkl_intel_lp64.so.3", "libmkl_core.so.3")]
)
def test_one_mkl_is_one_library_however_many_files_it_has(tmp_path, interface, named):
    """As they are mapped after the first computation, through the one library of all or linked one by one."""
    files = [compiled(tmp_path, interface, MKL)]
    files += [compiled(tmp_path, f"libmkl_{part}.so.3", "") for part in ("core", "gnu_thread", "avx2", "vml_avx2")]
    code = "import ctypes; [ctypes.CDLL(path) for path in %r]" % [str(path) for path in files]

    numerics = [fact for fact in said_by(code) if fact["kind"] == "numerics"]

    assert [item for fact in numerics for item in fact.get("libraries", ())] == [
        {
            "product": "mkl",
            "name": named,
            "role": "blas",
            "version": "2026.2",
            "kernel": "avx2",
            "layer": "gnu",
            "threads": 6,
            "owner": "",
        }
    ]
    assert {"name": "mkl.cbwr", "value": "compatible,strict"} in [
        item for fact in numerics for item in fact.get("switches", ())
    ]


def test_what_torch_holds_in_itself_is_told_by_its_own_configuration():
    """The wheels of torch are linked with oneMKL and oneDNN, of which no file shows."""
    # Of torch 2.13.0+cpu, cut in the middle.
    text = (
        "PyTorch built with:\n  - GCC 13.3\n  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build "
        "20240605 for Intel(R) 64 architecture applications\n  - Intel(R) MKL-DNN v3.12.0\n"
        "  - OpenMP 201511 (a.k.a. OpenMP 4.5)\n  - LAPACK is enabled (usually provided by MKL)\n"
    )
    modules = {"torch.__config__": package("torch.__config__", show=lambda: text)}
    inside = {"name": "libtorch_cpu.so", "owner": "torch"}
    onednn = {"product": "onednn", "role": "dnn", "version": "3.12.0", **inside}

    (facts,) = built_in_libraries(modules, [])
    (beside,) = built_in_libraries(modules, [{"product": "mkl"}])

    assert facts["libraries"] == [{"product": "mkl", "role": "blas", "version": "2024.2", **inside}, onednn]
    assert beside["libraries"] == [onednn]
    assert list(built_in_libraries({}, [])) == []
    (nothing,) = built_in_libraries({"torch.__config__": package("torch.__config__", show=lambda: "GCC")}, [])
    assert nothing["libraries"] == []
