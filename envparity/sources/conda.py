"""A conda environment of this machine: through its own Python where it has one, else by its records alone."""

from __future__ import annotations

from collections.abc import Iterator

from envparity.collectors import conda, cpu, dpkg, native_libraries, surroundings, system, variables
from envparity.collectors.tree import LocalTree, gap
from envparity.errors import UnreachableError, UsageError
from envparity.sources import live
from envparity.sources.observed import observed
from envparity.sources.reading import Fact, Options, not_recorded, origin
from envparity.sources.virtual import with_virtual_packages
from envparity.values import Environment


def read_conda(reference: str, options: Options) -> Environment:
    """
    The Environment of `conda:PREFIX`, the folder of a conda environment.

    Its Python is started as any interpreter is (see `live`). An environment without one (of R, of tools) is read from
    its records: what conda installed, the libraries among it that numbers come from, and the machine that it lies on.

    Raises:
        UsageError: there is no such folder, or it is no conda environment.
        UnreachableError: its records speak of a Python, and that is gone. And what `live.probe` raises.
    """
    prefix = (options.base_dir / reference).absolute()
    if not (prefix / "conda-meta").is_dir():
        gone = "there is no folder" if not prefix.is_dir() else "it has no `conda-meta`"
        raise UsageError(
            f"`{reference}` is not a conda environment: {gone}",
            hint="name its folder: `conda env list` prints it",
        )
    executable = prefix / "bin" / "python"
    if executable.exists():
        return live.probe(live.Interpreter(f"conda:{reference}", executable), options)
    facts = list(_without_python(str(prefix), options))
    if any(fact["kind"] == "conda-package" and fact["name"] == "python" for fact in facts):
        raise UnreachableError(
            f"the Python of `{reference}` is gone: {executable}",
            hint=f"put it back: `conda install -p {reference} --force-reinstall python`",
        )
    return observed(facts, origin("live", f"conda:{reference}"))


def _without_python(prefix: str, options: Options) -> Iterator[Fact]:
    tree = LocalTree()
    facts = (
        *conda.conda_packages(tree, (prefix,)),
        *system.system(tree, live=True),
        *surroundings.surroundings(tree, prefix),
        *surroundings.by_variables(tree, options.environ),
        *system.host(tree),
        *cpu.cpu(tree),
        *dpkg.os_packages(tree),
        *native_libraries.native_libraries(tree, (), (prefix,), options.environ.get("LD_LIBRARY_PATH", "")),
    )
    yield from with_virtual_packages(facts, options.environ)
    yield variables.settings(options.environ)
    yield from not_recorded(("python", "distributions"), "this conda environment has no Python")
    yield from not_recorded(("numerics", "modules"), "only running code knows it, and there is no Python to run")
    yield gap("artifacts", "not-recorded", live.NO_MODEL)
