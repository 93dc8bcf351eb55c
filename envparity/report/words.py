"""What the sections of an Environment are called where people read of them: one table for every format."""

from __future__ import annotations

from typing import NamedTuple


class _Words(NamedTuple):
    whole: str
    one: str
    many: str


_SECTIONS = {
    "python": _Words("Python", "fact of Python", "facts of Python"),
    "system": _Words("operating system", "fact of the system", "facts of the system"),
    "host": _Words("host", "fact of the host", "facts of the host"),
    "cpu": _Words("processor", "fact of the processor", "facts of the processor"),
    "accelerators": _Words("accelerators", "fact of accelerators", "facts of accelerators"),
    "os_packages": _Words("OS packages", "OS package", "OS packages"),
    "distributions": _Words("libraries", "library", "libraries"),
    "conda_packages": _Words("conda packages", "conda package", "conda packages"),
    "native_libraries": _Words("native libraries", "native library", "native libraries"),
    "numerics": _Words("numeric kernels and switches", "numeric switch", "numeric switches"),
    "modules": _Words("imported modules", "imported module", "imported modules"),
    "settings": _Words("settings", "variable", "variables"),
    "source_code": _Words("source code", "fact of the source code", "facts of the source code"),
    "artifacts": _Words("model and data files", "file", "files"),
}
"""In the order in which a person asks for them."""

ORDER = tuple(_SECTIONS)


def section(name: str) -> str:
    """A section as a whole: `OS packages`. One that is not in the table keeps its own name."""
    return _SECTIONS[name].whole if name in _SECTIONS else name.replace("_", " ")


def things(name: str, count: int) -> str:
    """So many of what a section lists: `1 library`, `90 OS packages`."""
    words = _SECTIONS.get(name) or _Words("", "fact", "facts")
    return f"{count:,} {words.one if count == 1 else words.many}"
