"""The rings: a module imports from lower rings only, never from its own; and where each library may be used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

RINGS = """
errors words
values files progress collectors
codec process network multiplex resources cache markers
compare closure elf oci fetch lineage platforms
sources knowledge policy resolvers image report writers lockfile settings
locking attached
preparation
snapshot diff lock export build verify run
doctor dockerfile
cli
__main__
"""
RING = {unit: number for number, line in enumerate(RINGS.strip().splitlines()) for unit in line.split()}

LIBRARIES = {
    "archspec": ("sources/virtual.py",),
    "certifi": ("network.py", "multiplex.py"),
    "click": ("cli/",),
    "cryptography": ("oci/keys.py",),
    "deflate": ("oci/pack.py",),
    "docker": ("oci/engine.py",),
    "debian": ("resolvers/package_lists.py", "image/base.py"),
    "elftools": ("elf.py",),
    "filelock": ("files.py",),
    "httpx": ("network.py",),
    "installer": ("image/wheels.py",),
    "isal": ("image/", "oci/", "resolvers/package_lists.py"),
    "keyring": ("resolvers/logins.py",),
    "jinja2": ("report/html.py", "image/dockerfile.py", "image/kubernetes.py"),
    "nacl": ("oci/keys.py",),
    "msgspec": ("",),  # anywhere: the values are made of it
    "packaging": ("",),  # anywhere: versions, markers and tags are words of the whole project
    "platformdirs": ("cache.py",),
    "pycurl": ("multiplex.py",),
    "pysequoia": ("resolvers/signed.py",),
    "rattler": ("resolvers/conda.py", "resolvers/conda_solving.py"),
    "rich": ("cli/", "report/"),
    "tomli_w": ("codec/",),
    "yaml": ("codec/",),
    "zstandard": ("oci/", "image/"),
}


def imports(package: Path) -> Iterator[tuple[str, int, str]]:
    """Every import below a package, inside functions too: the file, its line, and the name in full."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                folder = path.parent.relative_to(package.parent).parts
                base = folder[: len(folder) + 1 - node.level] if node.level else ()
                module = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{module}.{name}" for name in names]
            for name in names:
                yield path.relative_to(package).as_posix(), node.lineno, name


def ring_faults(package: Path) -> list[str]:
    """Each import that goes up, or sideways, or out of the collectors, with the path that it makes."""
    faults = []
    for file, line, name in imports(package):
        unit, parts = file.split("/")[0].removesuffix(".py"), name.split(".")
        if unit == "__init__" or parts[0] != package.name or len(parts) == 1:
            continue
        target = parts[1]
        if target == unit or (target not in RING and not (package / f"{target}.py").exists()):
            continue  # its own unit, or a name of the package itself (`__version__`)
        if unit == "collectors" or RING.get(target, 99) >= RING.get(unit, -1):
            faults.append(
                f"{file}:{line}: {unit} (ring {RING.get(unit)}) -> {target} (ring {RING.get(target)}): {name}"
            )
    return faults


def library_faults(package: Path) -> list[str]:
    """Each import of a library from a file that the table does not name."""
    own = sys.stdlib_module_names | {package.name}
    return [
        f"{file}:{line}: {name}"
        for file, line, name in imports(package)
        if name.split(".")[0] not in own and not file.startswith(LIBRARIES.get(name.split(".")[0], ("-",)))
    ]


def test_a_module_imports_from_lower_rings_only(checkout: Path) -> None:
    """One import upwards, and no part can be understood or tested without the whole."""
    assert ring_faults(checkout / "envparity") == []


def test_every_unit_has_its_ring(checkout: Path) -> None:
    """A module that stands in no ring is held to no rule."""
    units = {p.name.removesuffix(".py") for p in (checkout / "envparity").iterdir() if p.suffix in ("", ".py")}

    assert units - {"__init__", "__main__", "__pycache__", "py", "data", "schema"} <= set(RING)


def test_a_library_is_imported_only_where_the_table_says(checkout: Path) -> None:
    """A library that is used in one place can be replaced in one place, and costs nothing elsewhere."""
    assert library_faults(checkout / "envparity") == []


def test_an_import_upwards_is_found_inside_a_function_and_named(tmp_path: Path) -> None:
    """A rule that overlooks the usual way around it is worth nothing."""
    package = tmp_path / "envparity"
    (package / "oci").mkdir(parents=True)
    (package / "lock.py").touch()
    (package / "diff.py").write_text("from . import lock\n")
    (package / "oci" / "tar.py").write_text("def f():\n    from ..lock import recover\n    import docker\n")

    assert ring_faults(package) == [
        f"diff.py:1: diff (ring {RING['diff']}) -> lock (ring {RING['lock']}): envparity.lock",
        f"oci/tar.py:2: oci (ring {RING['oci']}) -> lock (ring {RING['lock']}): envparity.lock.recover",
    ]
    assert library_faults(package) == ["oci/tar.py:3: docker"]


def test_a_lock_imports_nothing_that_only_some_locks_need() -> None:
    """To import it takes half of the time of a lock that was made a moment ago."""
    told = "import sys, envparity.lock, envparity.lockfile; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True).stdout.split()

    of_some = {"locking.base_image", "oci.places", "image.model", "image.bytecode", "multiplex", "resolvers.conflicts"}
    assert "envparity.locking.wheels" in modules
    assert not {f"envparity.{name}" for name in of_some} & set(modules)
    assert not {"httpx", "rich", "tomli_w", "rattler"} & set(modules)


def test_what_a_build_asks_first_imports_nothing_that_makes_an_image(tmp_path: Path) -> None:
    """A build of which nothing changed only asks whether its image is there, and to import the rest takes as long."""
    (tmp_path / "model.joblib").write_bytes(b"model")
    asked = "build.Request(Path('pylock.toml'), outputs=('registry:127.0.0.1:1/a:1',), models=(Path('model.joblib'),))"
    told = f"""
import sys
from pathlib import Path
from envparity import build, preparation
print(preparation.options_of({asked}).models[0].size_bytes, *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", told], cwd=tmp_path, capture_output=True, check=True, text=True)
    size, *modules = done.stdout.split()

    making = {"plan", "layers", "contents", "base", "wheels", "conda", "bytecode", "serving", "preflight", "on_host"}
    assert size == "5"
    assert "envparity.image.again" in modules
    assert not {f"envparity.image.{name}" for name in making} & set(modules)
    assert not {"envparity.resolvers.archives", "envparity.locking.drift", "tarfile", "tomllib"} & set(modules)
