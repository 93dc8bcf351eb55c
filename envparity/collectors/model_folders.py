"""A folder that is one model: Hugging Face, spaCy, MLflow, SavedModel, or simply files that belong together."""

from __future__ import annotations

__all__ = ["folder"]

import posixpath
import re
from typing import Iterator

from envparity.collectors.folders import Inside, digest, files_of
from envparity.collectors.formats.found import Found, Limits
from envparity.collectors.models import UNKNOWN, Looked, lists, look
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap

# What a folder is, by what is found in it; the first row that fits counts.
_KINDS = (
    ("mlflow", "mlflow"),
    ("tensorflow-savedmodel", "tensorflow-savedmodel"),
    ("spacy-meta", "spacy"),
    ("sentence-transformers", "sentence-transformers"),
    ("diffusers", "diffusers"),
    ("peft", "peft"),
    ("huggingface-config", "huggingface"),
)
# Files of forms that only the library reads that the folder is for.
_OWN = {"spacy": ("",), "tensorflow-savedmodel": ("variables/", "assets/")}

# What computes with the weights of such a folder is said by its safetensors alone.
_OF_TRANSFORMERS = ("huggingface", "sentence-transformers", "diffusers", "peft")
_FRAMEWORKS = {"pt": "torch", "tf": "tensorflow", "flax": "flax", "mlx": "mlx"}
_BESIDE = ("yaml", "csv", "json", "parquet", "arrow", "protobuf")
_TEXTS = (
    ".md",
    ".txt",
    ".rst",
    ".cfg",
    ".toml",
    ".ini",
    ".html",
    ".png",
    ".jpg",
    ".svg",
    ".pdf",
    ".gitattributes",
    ".gitignore",
    ".model",
)
_MOST_GAPS = 20
_SHOWN = 3


def folder(tree: Tree, path: str, name: str, limits: Limits | None = None) -> Iterator[Fact]:
    """
    Observe one model folder. Every file is hashed; what each known one says of the model's needs is joined.

    Yields:
        An `artifact` fact with `files`, `size_bytes` their sum and the digest of `folders.digest`. Its format is that
        of the whole (`huggingface`, `mlflow`, …), or `folder`.
        Gaps as those of `models.model`, and for a link or a reference that leads out of the folder and is not followed.

    Raises:
        OSError: the folder or a file of it cannot be read, or it holds too many files.
    """
    found = Found(limits)
    gaps: list[tuple[str, str]] = []
    sizes, digests, forms = 0, [], []
    aside: dict[str, list[str]] = {}
    inside = list(files_of(tree, path))
    for item in inside:
        if item.leads_out:
            gaps.append(("unread", "`%s` in it is a link that leads nowhere, or out of it" % item.name))
            continue
        with tree.open(item.path) as stream:
            notes, found.notes = found.notes, set()
            looked = look(stream, item.name, found)
            found.notes, notes = notes, found.notes
        sizes += looked.size_bytes
        digests.append((item.name, looked.sha256))
        forms.append(looked.form)
        gaps += [("unread", "`%s` in it: %s" % (item.name, reason)) for reason in looked.unread]
        for reason in _worth_saying(item, looked, notes):
            aside.setdefault(reason, []).append(item.name)
    form = next((whole for part, whole in _KINDS if part in forms), "folder")
    for reason, files in sorted(aside.items()):
        if reason == _NO_LOADER and found.modules:
            continue  # something beside it says
        if reason == _UNKNOWN and form in _OWN:
            files = [each for each in files if not each.startswith(_OWN[form])]
            if not files:
                continue
        gaps.append(("not-recorded", "%s: %s" % (_listed(files), reason)))
    names = {item.name for item in inside if not item.leads_out}
    if form in _OF_TRANSFORMERS:
        for key, value in sorted(found.properties):
            if key == "format" and value in _FRAMEWORKS:
                found.needs(_FRAMEWORKS[value])
    gaps += [("unread", reason) for reason in _unresolved(found, names)]
    if form == "folder" and not (found.modules or found.classes):
        gaps.append(("not-recorded", "nothing in it says what loads it"))
    fact: Fact = {"kind": "artifact", "name": name, "path": path, "format": form, "files": len(digests)}
    fact.update(size_bytes=sizes, sha256=digest(digests), **lists(found))
    # What the folder itself brings is no need of it: the modules that MLflow keeps in `code`.
    brought = _brought(names)
    fact["modules"] = [module for module in fact["modules"] if module.split(".")[0] not in brought]
    yield fact
    for kind in ("unread", "not-recorded"):
        reasons = [reason for each, reason in gaps if each == kind]
        yield from (gap("artifacts", kind, reason, name) for reason in reasons[:_MOST_GAPS])
        if len(reasons) > _MOST_GAPS:
            yield gap("artifacts", kind, "and %d more of the kind" % (len(reasons) - _MOST_GAPS), name)


_UNKNOWN = UNKNOWN.replace("its", "the")
_NO_LOADER = "it does not say what loads it"


def _worth_saying(item: Inside, looked: Looked, notes: set[str]) -> Iterator[str]:
    """What is not known of one file, where a model's needs could lie in it: not of a text beside it."""
    base = posixpath.basename(item.name)
    if base.endswith(".py"):
        yield "code, whose imports are not read"
        return
    if looked.form in _BESIDE or base.lower().endswith(_TEXTS) or base == "LICENSE":
        return
    yield from (_UNKNOWN if reason == UNKNOWN else reason for reason in looked.not_recorded)
    yield from notes


def _unresolved(found: Found, names: set[str]) -> Iterator[str]:
    """References that lead out of the folder, or to what is not in it. None of them is followed by name."""
    for key, place in sorted(found.references):
        path = posixpath.normpath(place)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", place) or path.startswith(("/", "..", "~")) or "\\" in place:
            yield "`%s` leads out of the folder, and is not followed: %s" % (key, place)
        elif path != "." and path not in names and not any(name.startswith(path + "/") for name in names):
            yield "`%s` names `%s`, which is not in it" % (key, place)


def _brought(names: set[str]) -> set[str]:
    """The top-level modules in the folder `code` of an MLflow model, which it puts on the import path."""
    parts = (name.split("/")[1] for name in names if name.startswith("code/") and name.endswith(".py"))
    return {part[:-3] if part.endswith(".py") else part for part in parts}


def _listed(names: list[str]) -> str:
    more = " and %d more" % (len(names) - _SHOWN) if len(names) > _SHOWN else ""
    return ", ".join("`%s`" % name for name in names[:_SHOWN]) + more
