"""Who brought a file of the running process: a distribution by RECORD, the interpreter, conda, or the system."""

from __future__ import annotations

import os
import re
from typing import Iterable, Iterator

from envparity.collectors.metadata import normalised_name
from envparity.collectors.owners import NOBODY, conda_owners, system_owners
from envparity.collectors.records import record_rows
from envparity.collectors.shapes import Fact, Owner, Tree

_RECORD_BYTES = 64 << 20
_OF_CODE = (".py", ".so")


class Owners:
    """
    The owners of files, looked up in the folders of an import path. Every RECORD there is read once, when it is asked
    for the first time; a distribution without one (`*.egg-info`) owns what lies below its `top_level.txt`.
    """

    def __init__(self, tree: Tree, folders: Iterable[str], prefixes: Iterable[str], stdlib: str) -> None:
        self.tree = tree
        self.folders = [os.path.realpath(folder) for folder in folders if folder and os.path.isdir(folder)]
        self.prefixes = list(dict.fromkeys(os.path.realpath(prefix) for prefix in prefixes))
        self.stdlib = os.path.realpath(stdlib)
        self._files: dict[str, Owner] = {}
        self._code: dict[str, tuple[str, str, str]] = {}
        self._below: list[tuple[str, Owner]] = []
        self._real: dict[str, str] = {}
        self._is_read = False

    def of(self, paths: Iterable[str]) -> dict[str, Owner]:
        """The owner of each path; `NOBODY` where none is known."""
        found = {path: self.distribution(path) for path in paths}
        found.update({path: self._interpreter(path) for path in found if found[path] == NOBODY})
        for prefix in self.prefixes:
            found.update(conda_owners(self.tree, prefix, [path for path in found if found[path] == NOBODY]))
        found.update(system_owners(self.tree, [path for path in found if found[path] == NOBODY]))
        return found

    def distribution(self, path: str) -> Owner:
        """The distribution that brought a file, by RECORD; `NOBODY` where none did."""
        if not self._is_read:
            self._is_read = True
            for folder in self.folders:
                self._read(folder)
        if path in self._files:
            return self._files[path]
        path = self._in_its_place(path)
        return self._files.get(path) or next((owner for start, owner in self._below if path.startswith(start)), NOBODY)

    def altered(self, paths: Iterable[str]) -> Iterator[Fact]:
        """
        Which of these files of code have another size than the RECORD that lists them says: one `altered` each, with
        the metadata of its distribution and its path in RECORD. A change that keeps the size is not seen.
        """
        for path in dict.fromkeys(paths):
            metadata, name, size = self._code.get(path) or self._code.get(self._in_its_place(path), ("", "", ""))
            try:
                differs = size.isdigit() and os.stat(path).st_size != int(size)
            except OSError:
                continue  # it was removed since it was loaded, which the mapped libraries tell
            if differs:
                yield {"kind": "altered", "location": metadata, "path": name}

    def _in_its_place(self, path: str) -> str:
        """The path with the links of its folder followed."""
        folder, name = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder] + "/" + name

    def _interpreter(self, path: str) -> Owner:
        """The interpreter's own files: its library, and its standard library without what was installed into it."""
        name = os.path.basename(path)
        in_stdlib = path.startswith(self.stdlib + "/") and "-packages/" not in path[len(self.stdlib) :]
        built = not self.stdlib.startswith("/usr/lib/")  # there a package of the system owns it
        if built and (in_stdlib or (name.startswith("libpython") and path.startswith(tuple(self.prefixes)))):
            return ("interpreter", "python", "")
        return NOBODY

    def _read(self, folder: str) -> None:
        try:
            names = [name for name in self.tree.entries(folder) if name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            return
        for name in names:
            # `demo-1.0.dist-info`, `demo-1.0-py3.11.egg-info`, and setuptools' `demo.egg-info` beside a source.
            project, dash, version = re.sub("-py[0-9.]+$", "", name.rpartition(".")[0]).rpartition("-")
            owner = ("wheel", normalised_name(project if dash else version), version if dash else "")
            place = folder + "/" + name
            try:
                text = self._text(place + "/RECORD")
                for path, _, size in record_rows(text):
                    if path.startswith(("../", "/")) or "/../" in path:
                        self._files[os.path.normpath(os.path.join(folder, path))] = owner
                    else:
                        self._files[folder + "/" + path] = owner
                        if path.endswith(_OF_CODE) or ".so." in path:
                            self._code[folder + "/" + path] = (place, path, size)
                if text.count("\n") < 40 and self.tree.kind(place + "/direct_url.json") == "file":
                    self._editable(place, owner)
            except (OSError, ValueError):
                self._egg(folder, place, owner)

    def _editable(self, place: str, owner: Owner) -> None:
        import json

        value = json.loads(self._text(place + "/direct_url.json"))
        url = value.get("url", "") if isinstance(value, dict) and value.get("dir_info") else ""
        if isinstance(url, str) and url.startswith("file:///") and value["dir_info"].get("editable") is True:
            from urllib.parse import unquote

            self._below.append((os.path.realpath(unquote(url[7:])) + "/", owner))

    def _egg(self, folder: str, place: str, owner: Owner) -> None:
        try:
            tops = self._text(place + "/top_level.txt").split()
        except (OSError, ValueError):
            return
        for top in tops:
            self._files[folder + "/" + top + ".py"] = owner
            self._below.append((folder + "/" + top + "/", owner))

    def _text(self, path: str) -> str:
        return self.tree.read(path, _RECORD_BYTES).decode("utf-8", "surrogateescape")
