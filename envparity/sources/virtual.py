"""The virtual packages that stand for the machine when conda chooses packages (`__glibc`, `__cuda`, `__archspec`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from envparity.collectors.tree import gap
from envparity.sources.reading import Fact

_KERNEL = re.compile(r"\d+\.\d+(\.\d+)?(\.\d+)?")


def with_virtual_packages(facts: Iterable[Fact], environ: Mapping[str, str], *, here: bool = True) -> list[Fact]:
    """
    The facts of a place, and of its virtual packages if it is a conda environment: as conda would compute them now
    (https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html), CONDA_OVERRIDE_* included.

    What conda calls this processor is known to `archspec` (the extra `conda`), which asks the machine that it runs on:
    so only for a place that is `here`. What is not known has a gap, named like its package.
    """
    facts = list(facts)
    if all(fact.get("section") != "conda_packages" or fact["kind"] != "section" for fact in facts):
        return facts
    return [*facts, *_packages(facts, environ, here)]


def _packages(facts: list[Fact], environ: Mapping[str, str], here: bool) -> Iterator[Fact]:
    known: dict[str, Any] = {}
    for fact in facts:
        if fact["kind"] in {"system", "host", "accelerators"}:
            known.update({key: value for key, value in fact.items() if key != "kind" and value})
    if known.get("os") != "linux":
        yield gap("conda_packages", "not-recorded", "which virtual packages conda has here is not known", "__unix")
        return
    yield _package("__unix", "0", "0")
    kernel = _KERNEL.match(environ.get("CONDA_OVERRIDE_LINUX", known.get("kernel", "")))
    yield _package("__linux", kernel[0] if kernel else "0", "0")
    glibc = environ.get("CONDA_OVERRIDE_GLIBC", known.get("libc_version", "") if known.get("libc") == "glibc" else "")
    if glibc:
        yield _package("__glibc", glibc, "0")
    yield from _cuda(facts, known, environ)
    processor = environ.get("CONDA_OVERRIDE_ARCHSPEC")
    if processor is None:
        processor = _processor() if here else ""
        if not processor:
            reason = "conda's name of the processor needs `archspec`, here: `pip install envparity[conda]`"
            yield gap("conda_packages", "not-recorded", reason, "__archspec")
    if processor:
        yield _package("__archspec", "1", processor)


def _cuda(facts: list[Fact], known: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Fact]:
    cuda = environ.get("CONDA_OVERRIDE_CUDA", known.get("driver_cuda", ""))
    if cuda:
        yield _package("__cuda", cuda, "0")
    elif "CONDA_OVERRIDE_CUDA" not in environ and not any(_speaks_of_drivers(fact) for fact in facts):
        yield gap("conda_packages", "not-recorded", "the driver of an accelerator was not asked for", "__cuda")


def _speaks_of_drivers(fact: Fact) -> bool:
    return "accelerators" in {fact["kind"], fact.get("section")} and fact["kind"] != "gap"


def _processor() -> str:
    """The name of this machine's microarchitecture; empty where `archspec` is not installed."""
    try:
        from archspec import cpu
    except ImportError:
        return ""
    return str(cpu.host().name)


def _package(name: str, version: str, build: str) -> Fact:
    return {"kind": "conda-package", "name": name, "version": version, "build": build, "virtual": True}
