"""Boosted trees in their libraries' own forms: LightGBM's text and CatBoost's flat buffer. XGBoost's is JSON."""

from __future__ import annotations

import re
from typing import Iterator

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.scanning import scan_json
from envparity.collectors.formats.streams import Anywhere, Source

_LIGHTGBM_SAID = ("objective", "num_class", "num_tree_per_iteration", "max_feature_idx", "linear_tree")
_LIGHTGBM_PARAMETERS = ("boosting", "data_sample_strategy", "device_type", "deterministic")

_MOST_PAIRS = 1000
_LONGEST_VALUE = 16 << 20


def read_lightgbm(source: Source, found: Found) -> str:
    """
    LightGBM's text (`Booster.save_model`): its version is that of the form, not of the library.

    Raises:
        Unreadable: it ends before its trees or its parameters do.
    """
    stream = source.forward()
    stream.line()
    ended = parameters = False
    while not stream.at_end():
        try:
            line = stream.line()
        except Unreadable:
            break  # the last line, without its line feed
        found.count()
        text = line[:4096].decode("utf-8", "replace").strip()
        key, equals, value = text.partition("=")
        if ended:
            parameter = re.match(r"\[(\w+): (.*)\]$", text)
            if parameter and parameter[1] in _LIGHTGBM_PARAMETERS:
                found.says(parameter[1], parameter[2])
            parameters = (parameters or text == "parameters:") and text != "end of parameters"
        elif text == "end of trees":
            ended = True
        elif equals and key == "version":
            found.says("format_version", value)
        elif equals and key in _LIGHTGBM_SAID:
            found.says(key, value)
    if not ended or parameters:
        raise Unreadable("it is cut short: its last lines are missing")
    found.needs("lightgbm")
    return "lightgbm"


def read_catboost(source: Source, found: Found) -> str:
    """
    CatBoost's `.cbm`: a flat buffer (https://flatbuffers.dev/internals/) with the table `TModelCore`, whose first field
    is the form's version and whose third are pairs of texts, the training parameters among them.
    """
    data = source.anywhere()
    size = data.number(4, 4)
    if 8 + size > data.size:
        raise Unreadable("it is cut short")
    root = _Table(data, _follow(data, 8))
    found.says("format_version", root.text(0))
    for pair in root.tables(2):
        key = pair.text(0)
        if key == "params":
            for path, value in scan_json([pair.text(1).encode("utf-8")], found, lambda path: len(path) < 2):
                if path in (("loss_function", "type"), ("flat_params", "loss_function")):
                    found.says("objective", value)
                elif path == ("boosting_options", "boosting_type"):
                    found.says("boosting", value)
        elif key == "catboost_version_info":
            _catboost_version(pair.text(1), found)
    found.needs("catboost")
    return "catboost"


def _catboost_version(text: str, found: Found) -> None:
    """`CatBoost Git Info:`, `Branch: release/1.2.7` and the like, whichever the build left there."""
    release = re.search(r"\b(?:v|release/?)(\d+\.\d+(?:\.\d+)*)\b", text)
    if release:
        found.written_by("catboost", release[1])
    for name in ("Commit", "Branch"):
        line = re.search(r"^\s*%s:\s*(\S+)" % name, text, re.MULTILINE)
        if line:
            found.says("catboost_" + name.lower(), line[1])


class _Table:
    """A table of a flat buffer."""

    def __init__(self, data: Anywhere, at: int) -> None:
        self.data = data
        self.at = at
        self.fields = at - int.from_bytes(data.read(at, 4), "little", signed=True)
        self.fields_bytes = data.number(self.fields, 2)

    def text(self, field: int) -> str:
        """A field that is a text; nothing where it is not there."""
        at = self._field(field)
        if not at:
            return ""
        start = _follow(self.data, at)
        length = self.data.number(start, 4)
        if length > _LONGEST_VALUE:
            raise Unreadable("a text in it is %d bytes long" % length)
        return self.data.read(start + 4, length).decode("utf-8", "replace")

    def tables(self, field: int) -> Iterator[_Table]:
        """A field that is a list of tables."""
        at = self._field(field)
        if not at:
            return
        start = _follow(self.data, at)
        count = self.data.number(start, 4)
        if count > _MOST_PAIRS:
            raise Unreadable("it has %d entries where some are expected" % count)
        for index in range(count):
            yield _Table(self.data, _follow(self.data, start + 4 + 4 * index))

    def _field(self, field: int) -> int:
        place = 4 + 2 * field
        offset = self.data.number(self.fields + place, 2) if place + 2 <= self.fields_bytes else 0
        return self.at + offset if offset else 0


def _follow(data: Anywhere, at: int) -> int:
    return at + data.number(at, 4)
