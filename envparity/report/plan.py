"""The plan of an image: a table of its layers with sizes and reasons, and the same for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from envparity.report.diff import encoded
from envparity.report.text import Style, bounded, cells, name
from envparity.values import LayerTold, PlanTold, Step
from envparity.words import counted

_WHY, _SIZE = 22, 8


def text(told: PlanTold, style: Style | None = None, *, verbose: bool = False) -> str:
    """One line a layer, from the lowest to the highest; with `verbose` what each is made of, below it."""
    style = style or Style()
    wide = style.width - 12 - 2 * (_SIZE + 1) - _WHY - 2
    lines = [style.bold(f"{'layer':<12}{'what':<{wide}} {'unpacked':>{_SIZE}} {'packed':>{_SIZE}}  why")]
    for layer in told.layers:
        title = _padded(Style(width=wide, ascii=style.ascii).clipped(style.plain(name(layer.title))), wide)
        sizes = f"{_size(layer.unpacked_bytes):>{_SIZE}} {_packed(layer):>{_SIZE}}"
        why = name(layer.why) + ("" if layer.codec == "gzip" else f", {layer.codec}")
        lines.append(f"{layer.step:<12}{title} {sizes}  {why}".rstrip())
        if verbose and len(layer.holds) > 1:
            lines += style.wrapped(bounded(", ".join(layer.holds), 4_000), indent=" " * 14)
    unpacked = [layer.unpacked_bytes for layer in told.layers if layer.unpacked_bytes is not None]
    packed = [layer.packed_bytes for layer in told.layers if layer.packed_bytes is not None]
    known = "" if len(unpacked) == len(packed) == len(told.layers) else "at least "
    above = sum(layer.step not in {Step.BASE, Step.IMAGE} for layer in told.layers)
    notes = [
        f"{above} layers above the base, of at most {told.most_layers}; {known}{_size(sum(unpacked))} MB unpacked, "
        f"{_size(sum(packed))} MB packed. Sizes are in MB; one with ~ is that of the files before they are packed.",
        "Small wheels are grouped by their names alone: a pin that changes rewrites one small layer, and images that"
        " share most of their pins share most of their layers.",
    ]
    if told.serve:
        why = "as the lock was made for; `--serve none` leaves it out" if told.by_lock else "as --serve says"
        notes.append(f"The image serves by {told.serve}, {why}.")
    notes += _unserved(told)
    for count, what in ((told.unseen, "wheel"), (told.conda_unseen, "conda package")):
        if count:
            verbs = ("is", "was") if count == 1 else ("are", "were")
            notes.append(f"{counted(count, what)} {verbs[0]} not in the cache, and {verbs[1]} not looked into.")
    return "\n".join([*lines, "", *(line for note in notes for line in style.wrapped(note))]) + "\n"


def json(told: PlanTold, style: Style | None = None, *, verbose: bool = False) -> str:
    """Every layer, with what it is made of."""
    layers = [
        {
            "step": str(layer.step),
            "title": name(layer.title),
            "why": layer.why,
            "codec": layer.codec,
            "unpacked_bytes": layer.unpacked_bytes,
            "packed_bytes": layer.packed_bytes,
            "made_before": layer.made,
            "holds": [name(item) for item in layer.holds],
        }
        for layer in told.layers
    ]
    document = {
        "platform": told.platform,
        "most_layers_above_the_base": told.most_layers,
        "layers": layers,
        "unserved_bytes": dict(told.unserved),
        "stripped": list(told.strip),
        "serve": told.serve,
        "wheels_not_looked_into": told.unseen,
        "conda_packages_not_looked_into": told.conda_unseen,
    }
    return encoded(msgspec.to_builtins(document))


def _unserved(told: PlanTold) -> Iterator[str]:
    """What is left out of wheels and conda packages, and what could be."""
    what = "wheels and conda packages" if any(layer.step is Step.CONDA for layer in told.layers) else "wheels"

    def listed(kinds: Iterable[tuple[str, int]]) -> str:
        return ", ".join(f"{_size(size)} MB of {_KINDS.get(kind, kind)}" for kind, size in kinds)

    out = [(kind, size) for kind, size in told.unserved if kind in told.strip]
    kept = [(kind, size) for kind, size in told.unserved if kind not in told.strip]
    if out:
        yield f"Left out of the {what}: {listed(out)} (unpacked)."
    if kept:
        words = ",".join(kind for kind, size in kept if size)
        how = f"; `--strip {words}` leaves it out, with its byte code" if words else ""
        yield f"In the {what}, since it was part of what trained, and of no use to who serves: {listed(kept)}{how}."


_KINDS = {"static": "static libraries", "debug": "debug symbols"}


def _packed(layer: LayerTold) -> str:
    mark = "" if layer.made or layer.packed_bytes is None else "~"
    return mark + _size(layer.packed_bytes)


def _size(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else f"{size_bytes / 1e6:,.1f}"


def _padded(text: str, wide: int) -> str:
    return text + " " * max(wide - cells(text), 0)
