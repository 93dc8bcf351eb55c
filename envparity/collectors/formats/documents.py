"""Models, and what lies beside them, that are JSON: told apart by their keys."""

from __future__ import annotations

from typing import Iterable

from envparity.collectors.formats.found import Found
from envparity.collectors.formats.scanning import Path, Value, scan_json, scan_ubjson
from envparity.collectors.formats.streams import Source

_MOST_PENDING = 10_000
BACKEND = "it does not say which backend of Keras computes it"

# Top-level keys that together tell a document; the first row that fits counts.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("xgboost-json", ("learner", "version")),
    ("catboost-json", ("oblivious_trees", "model_info")),
    ("spacy-meta", ("spacy_version", "lang")),
    ("diffusers", ("_class_name", "_diffusers_version")),
    ("peft", ("peft_type",)),
    ("tokenizer", ("model", "truncation", "padding")),
    ("tokenizer-config", ("tokenizer_class",)),
    ("huggingface-config", ("model_type",)),
    ("huggingface-config", ("architectures",)),
    ("generation-config", ("transformers_version",)),
    ("sentence-transformers", ("__version__",)),
)

# What a document says, by kind and path; `*` stands for one key or place. `=` marks the version of a distribution.
_SAID: tuple[tuple[str, Path, str], ...] = (
    ("xgboost-json", ("learner", "gradient_booster", "name"), "booster"),
    ("xgboost-json", ("learner", "objective", "name"), "objective"),
    ("xgboost-json", ("learner", "learner_model_param", "num_feature"), "num_feature"),
    ("xgboost-json", ("learner", "learner_model_param", "num_class"), "num_class"),
    ("spacy-meta", ("spacy_version",), "spacy_version"),
    ("spacy-meta", ("lang",), "lang"),
    ("spacy-meta", ("name",), "name"),
    ("spacy-meta", ("version",), "version"),
    ("spacy-meta", ("pipeline", "*"), "pipeline"),
    ("spacy-meta", ("requirements", "*"), "requirement"),
    ("diffusers", ("_diffusers_version",), "=diffusers"),
    ("diffusers", ("_class_name",), "class"),
    ("peft", ("peft_type",), "peft_type"),
    ("peft", ("peft_version",), "=peft"),
    ("peft", ("base_model_name_or_path",), "base_model"),
    ("tokenizer", ("model", "type"), "tokenizer"),
    ("tokenizer", ("version",), "tokenizer_version"),
    ("tokenizer-config", ("tokenizer_class",), "tokenizer_class"),
    ("huggingface-config", ("transformers_version",), "=transformers"),
    ("huggingface-config", ("model_type",), "model_type"),
    ("huggingface-config", ("architectures", "*"), "architecture"),
    ("huggingface-config", ("torch_dtype",), "torch_dtype"),
    ("huggingface-config", ("dtype",), "torch_dtype"),
    ("huggingface-config", ("quantization_config", "quant_method"), "quantization"),
    ("generation-config", ("transformers_version",), "=transformers"),
    ("sentence-transformers", ("__version__", "sentence_transformers"), "=sentence-transformers"),
    ("sentence-transformers", ("__version__", "transformers"), "=transformers"),
    ("sentence-transformers", ("__version__", "pytorch"), "=torch"),
)
_LOADERS = {
    "xgboost-json": "xgboost",
    "catboost-json": "catboost",
    "spacy-meta": "spacy",
    "diffusers": "diffusers",
    "peft": "peft",
    "huggingface-config": "transformers",
    "sentence-transformers": "sentence_transformers",
}
_MODULES_KEYS = ("name", "path", "type")


_WANTED = {path for _, path, _ in _SAID} | {("version", "*"), ("*", "type"), ("auto_map", "*")}
_ON_THE_WAY = {path[:length] for path in _WANTED for length in range(len(path))}


def read_json(source: Source, found: Found) -> str:
    """
    A JSON document. One of no known kind says nothing of what it needs.

    Raises:
        Unreadable: it is cut short, damaged, or nested too deep.
    """
    tops: set[object] = set()

    def into(path: Path) -> bool:
        if path and len(tops) < _MOST_PENDING:
            tops.add(path[0])
        return _general(path) in _ON_THE_WAY

    return _said(scan_json(source.forward().rest(), found, into), tops, found)


def read_ubjson(source: Source, found: Found) -> str:
    """XGBoost's own binary form of the same."""
    form = _said(scan_ubjson(source.forward(), found), set(), found)
    return {"xgboost-json": "xgboost-ubj"}.get(form, "ubjson")


def _general(path: Path) -> Path:
    """A path as `_SAID` has it: every place in a list, and every key of `auto_map`, is `*`."""
    if path and path[0] == "auto_map":
        return ("auto_map", *("*" for _ in path[1:]))
    return tuple("*" if isinstance(part, int) else part for part in path)


def _said(scalars: Iterable[tuple[Path, Value]], tops: set[object], found: Found) -> str:
    """The kind of a document, and what it says: noted at its end, since the key that tells may come last."""
    kept: list[tuple[Path, Value]] = []
    version: list[str] = []
    for path, value in scalars:
        if len(path) > 4:
            continue
        if path and len(tops) < _MOST_PENDING:
            tops.add(path[0])
        general = _general(path)
        if general in _WANTED and len(kept) < _MOST_PENDING:
            kept.append((general, value))
        if general == ("version", "*"):
            version.append(str(value))
    form = next((kind for kind, keys in _KINDS if tops.issuperset(keys)), "")
    for path, value in kept:
        for kind, place, name in _SAID:
            if kind == form and place == path:
                if name.startswith("="):
                    found.written_by(name[1:], value)
                else:
                    found.says(name, value)
        if form == "huggingface-config" and path[0] == "auto_map":
            found.notes.add("it loads code of its own repository (`auto_map`), whose imports are not read")
        if not form and path == ("*", "type") and str(value).startswith("sentence_transformers."):
            # modules.json of sentence-transformers: a list of its layers.
            module, _, name = str(value).rpartition(".")
            found.refers_to(module, name)
            tops.add("sentence-transformers")
    if not form and "sentence-transformers" in tops:
        return "sentence-transformers"
    if form in _LOADERS:
        found.needs(_LOADERS[form])
    if form == "xgboost-json":
        found.written_by("xgboost", ".".join(version[:8]))
    if not form:
        found.notes.add("a JSON document of no known kind: what it needs is not read")
    return form or "json"


def read_classes(pieces: Iterable[bytes], found: Found, module_key: str, class_key: str) -> None:
    """
    The classes of a document that names them in pairs, at any depth: Keras (`module`, `class_name`) and skops
    (`__module__`, `__class__`). A class without a module is one that other code must have registered.
    """
    pending: dict[Path, tuple[Value, Value]] = {}
    registered: set[str] = set()
    for path, value in scan_json(pieces, found):
        key = path[-1] if path else ""
        if key in (module_key, class_key):
            place = path[:-1]
            module, name = pending.pop(place, ("", ""))
            module, name = (value, name) if key == module_key else (module, value)
            if isinstance(module, str) and module and isinstance(name, str) and name:
                found.refers_to(module[:1024], name[:1024])
            elif len(pending) < _MOST_PENDING:
                pending[place] = module, name
        elif key == "registered_name" and isinstance(value, str) and ">" in value:
            if not value.startswith("keras>"):
                registered.add(value[:100])
        elif key == "content" and path[-2:-1] == ("_sklearn_version",) and isinstance(value, str):
            found.written_by("scikit-learn", value.strip('"'))
        elif key == "_skops_version":
            found.written_by("skops", value)
        if value == "__lambda__":
            found.notes.add("it carries code by value: what that code imports when it runs is not read")
    for _, name in pending.values():
        if isinstance(name, str) and ">" in name:
            registered.add(name[:100])
    if registered:
        found.notes.add("it has classes that other code must register: " + ", ".join(sorted(registered)[:5]))
