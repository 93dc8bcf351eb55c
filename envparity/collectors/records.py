"""RECORD: which files a distribution brought, what identifies its wheel, and which modules it provides."""

from __future__ import annotations

import bisect
import hashlib
import operator
import os
from typing import Iterable, Iterator

from envparity.collectors.shapes import Tree

RECORD_LIMIT = 64 << 20
# What an installer writes itself into the metadata; the last two are uv's, for what it was given as a file.
WRITTEN_LATER = (
    *("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"),
    *("uv_cache.json", "uv_build.json"),
)
_SHARED_INIT = 256
_CODE = (".py", ".so", ".pyd")
_DEEPEST = 8
_FEW_TOPS = 16
_LEADS_OUT = "./,"


def record_rows(text: str) -> list[tuple[str, str, str]]:
    """
    The rows of a RECORD as `(path, hash, size)`; a row with fewer fields has empty ones, one with more is cut.

    Raises:
        ValueError: its quoting is broken.
    """
    if '"' in text:
        import csv
        import io

        try:
            lines = [fields[:3] for fields in csv.reader(io.StringIO(text, newline=""))]
        except csv.Error as error:
            raise ValueError("its RECORD cannot be read: %s" % error) from None
    else:
        lines = [line.rstrip("\r").rsplit(",", 2) for line in text.split("\n")]
    padded = ([*fields, "", "", ""] for fields in lines)
    return [(fields[0], fields[1], fields[2]) for fields in padded if fields[0]]


class Record:
    """
    One RECORD, read once for all that is asked of it. Most of its lines are already as the normal form has them, and
    lie in a package that one line names: only the others are taken apart (an environment has 50,000 lines).
    """

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n") if "\r" in text else text
        self.text = text
        self.lines: list[str] = []
        self.special: list[tuple[str, str, str]] = []
        if '"' in text or "\r" in text:
            self.special = record_rows(text)
        else:
            odd: list[str] = []
            ordinary = self.lines.append
            # What no line of it has need not be looked for in each.
            marks = [mark for mark in (".data/", "/../") if mark in text]
            if text.count(".pyc,") != text.count(".pyc,,\n"):
                marks.append(".pyc,")
            for line in text.split("\n"):
                if line[-6:] == ".pyc,,":
                    continue
                if line.count(",") != 2 or line[0] in _LEADS_OUT or ".dist-info/" in line:
                    odd.append(line)
                elif marks and any(mark in line for mark in marks):
                    odd.append(line)
                else:
                    ordinary(line)
            self.special = record_rows("\n".join(odd))
        self.lines.sort()
        self.tops = set(_tops(self.lines))

    def rows(self) -> list[tuple[str, str, str]]:
        """All rows, in the order of the file."""
        return record_rows(self.text)

    def paths_with(self, part: str) -> list[str]:
        """The paths that hold a text, in no order."""
        if part not in self.text:
            return []
        paths = [line.rsplit(",", 2)[0] for line in self.lines if part in line]
        return [path for path in [*paths, *(path for path, _, _ in self.special)] if part in path]

    def digest(self) -> str:
        """The sha256 of `normalised_record`, in lower-case hexadecimal."""
        return hashlib.sha256(_normal_form([*self.lines, *_normal_lines(self.special)])).hexdigest()

    def import_names(self) -> list[str]:
        """What `import_names` finds in all of its rows."""
        inits = self._sizes_of_inits()
        doubtful = {path.partition("/")[0] for path, _, _ in self.special if path.endswith(_CODE)}
        wanted = {top for top in self.tops if top in doubtful or not inits.get(top, "").isdigit()}
        small = [top for top in self.tops - wanted if int(inits[top][:9]) <= _SHARED_INIT]
        # Everything below a package at the top is covered by its name, unless its __init__ may be a shared one: that is
        # a small one without modules beside it.
        wanted.update(top for top in small if len(small) > _FEW_TOPS or not self._has_module(top + "/"))
        names = [top for top in self.tops - wanted if top.isidentifier()]
        if not wanted and not self.special:
            return sorted(names)
        lines = self.lines if wanted else []
        fields = (line.rsplit(",", 2) for line in lines if line.partition("/")[0] in wanted)
        rows = [(path, digest, size) for path, digest, size in fields]
        return sorted({*names, *import_names([*rows, *self.special])})

    def _has_module(self, below: str) -> bool:
        for line in self.lines:
            if line.startswith(below):
                path = line[len(below) :].partition(",")[0]
                if "/" not in path and module_name(path) not in ("", "__init__"):
                    return True
        return False

    def _sizes_of_inits(self) -> dict[str, str]:
        """Package at the top -> the size of its `__init__.py`, as RECORD has it."""
        sizes, text, mark = {}, self.text, "/__init__.py,"
        at = text.find(mark)
        while at >= 0:
            top = text[text.rfind("\n", 0, at) + 1 : at]
            if "/" not in top:
                sizes[top] = text[at : text.find("\n", at) % (len(text) + 1)].rpartition(",")[2]
            at = text.find(mark, at + 1)
        return sizes

    def at_top(self, ending: str | tuple[str, ...]) -> list[str]:
        """The files at the top of site-packages whose names end so, as RECORD spells them."""
        names = [top.rsplit(",", 2)[0] for top in self.tops if "," in top]
        names += [path for path, _, _ in self.special if "/" not in path]
        return sorted(name for name in names if name.endswith(ending))

    def inside(self) -> Iterator[str]:
        """The paths of metadata that lies inside packages of it: copies of other distributions."""
        for path, _, _ in self.special:
            if path.endswith(".dist-info/METADATA") and path.count("/") > 1:
                yield path.rpartition("/")[0]
        yield from (path for path in self.paths_with("/_vendor/vendor.txt") if path.endswith("/_vendor/vendor.txt"))


def normalised_record(text: str) -> bytes:
    """
    What a wheel's RECORD and the one that an installer made of it have in common, as bytes to compare or to hash.

    Rows `path,hash,size`, sorted, LF; without RECORD itself and its signatures, INSTALLER, REQUESTED, direct_url.json,
    what uv notes there, `*.pyc` and whatever lies outside site-packages (scripts, headers, data); `.data/purelib` and
    `.data/platlib` are mapped to the root.
    """
    return _normal_form(list(_normal_lines(record_rows(text))))


def _normal_form(lines: list[str]) -> bytes:
    lines.sort()
    if any(map(operator.eq, lines, lines[1:])):  # most have no line twice, and to look each up would take longer
        lines = sorted(set(lines))
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")


def _tops(lines: list[str]) -> Iterator[str]:
    """What stands before the first slash of sorted lines, each once; a line without a slash as a whole."""
    at = 0
    while at < len(lines):
        top, slash, _ = lines[at].partition("/")
        yield top
        # The sign after the slash: all that lies below this name comes before it.
        at = bisect.bisect_left(lines, top + "0", at) if slash else at + 1


def record_digest(text: str) -> str:
    """The sha256 of `normalised_record`, in lower-case hexadecimal."""
    return hashlib.sha256(normalised_record(text)).hexdigest()


def _normal_lines(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    for path, digest, size in rows:
        if path.endswith(".pyc") or path.startswith(("../", "/")):
            continue
        first, _, rest = path.partition("/")
        if first.endswith(".dist-info") and rest in WRITTEN_LATER:
            continue
        if first.endswith(".data") and rest:
            scheme, _, inside = rest.partition("/")
            if scheme not in ("purelib", "platlib"):
                continue
            path = inside
        if "/../" in path:
            continue
        if "," in path or '"' in path or "\n" in path:
            path = '"' + path.replace('"', '""') + '"'
        yield path + "," + digest + "," + size


def import_names(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """
    The modules and packages that RECORD rows provide at the top: `numpy`, `threadpoolctl`, `_cffi_backend`. Under a
    namespace package, which several distributions share, the name goes one level deeper: `google.protobuf`.
    """
    packages: dict[tuple[str, ...], str] = {}
    modules: list[tuple[tuple[str, ...], str]] = []
    for path, _, size in rows:
        if not path.endswith(_CODE) or path.startswith(("../", "/")):
            continue
        *parents, last = path.split("/")
        stem = module_name(last)
        if not stem or (parents and parents[0].endswith((".dist-info", ".data", ".egg-info", ".libs"))):
            continue
        folder = tuple(parents)
        if stem == "__init__":
            packages[folder] = size
        else:
            modules.append((folder, stem))
    found: set[str] = set()
    for folder in list(packages) + [folder for folder, _ in modules]:
        for depth in range(1, min(len(folder), _DEEPEST) + 1):
            if folder[:depth] in packages:
                found.add(".".join(folder[:depth]))
                break
    for folder, stem in modules:
        if len(folder) <= _DEEPEST and not any(folder[:depth] in packages for depth in range(1, len(folder) + 1)):
            found.add(".".join((*folder, stem)))
    # An __init__ of a line or two that many distributions repeat (pkgutil, pkg_resources): nvidia/, backports/.
    shared = {folder[0] for folder, size in packages.items() if len(folder) == 1 and size.isdigit() and len(size) < 4}
    shared = {name for name in shared if int(packages[(name,)]) <= _SHARED_INIT}
    shared -= {folder[0] for folder, _ in modules if len(folder) == 1}
    children: dict[str, set[str]] = {}
    for folder in packages:
        if len(folder) > 1 and folder[0] in shared:
            children.setdefault(folder[0], set()).add(folder[1])
    for name, below in children.items():
        if len(below) <= 8:
            found.update(name + "." + child for child in below)
    return sorted(name for name in found if all(part.isidentifier() for part in name.split(".")))


def module_name(name: str) -> str:
    """The module that a file of this name is: `x` of `x.py`, of `x.cpython-311-x86_64-linux-gnu.so`; else empty."""
    if name.endswith(".py"):
        return name[:-3]
    if not name.endswith((".so", ".pyd")):
        return ""
    stem, _, tag = name.partition(".")
    # `x.abi3.so`, `x.cp311-win_amd64.pyd`; a plain `libx.so` is no module.
    return "" if tag == "so" and stem.startswith("lib") else stem


def unowned(tree: Tree, folder: str, records: Iterable[str]) -> Iterator[str]:
    """
    The files below a site-packages folder that none of these RECORD texts lists, as relative paths.

    `*.pyc` and `__pycache__` are passed over; links are named and not followed.

    Raises:
        OSError: a folder cannot be read.
    """
    owned: set[str] = set()
    for text in records:
        # A detour (`x/../sitecustomize.py`) owns nothing: the digest of RECORD leaves such rows out.
        owned.update(os.path.normpath(path) for path, _, _ in record_rows(text) if "/../" not in path.lstrip("./"))
    return not_in(tree, folder, owned)


def not_in(tree: Tree, folder: str, owned: set[str]) -> Iterator[str]:
    """The files below a folder whose relative paths are not in a set; as `unowned` has it."""
    ahead = [""]
    while ahead:
        below = ahead.pop()
        for name in tree.entries(folder + "/" + below if below else folder):
            path = below + "/" + name if below else name
            if name == "__pycache__" or name.endswith(".pyc") or path in owned:
                continue
            if not tree.is_link(folder + "/" + path) and tree.kind(folder + "/" + path) == "folder":
                ahead.append(path)
            else:
                yield path
