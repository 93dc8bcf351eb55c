"""What the model's own file refers to, and what each distribution is to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from envparity import markers
from envparity.compare import effective, place
from envparity.knowledge.schema import General
from envparity.values import Difference, Distribution, Environment


class Model(NamedTuple):
    """The references of all model files. `known` is false where no model was given, or one does not say all."""

    known: bool
    classes: frozenset[str]
    modules: frozenset[str]
    distributions: frozenset[str]

    def refers_to(self, prefix: str) -> bool:
        """Whether the model names this class (`module:qualname`) or anything of this module."""
        if ":" in prefix:
            return prefix in self.classes
        return any(module == prefix or module.startswith(f"{prefix}.") for module in self.modules)

    def refers_only_to(self, classes: tuple[str, ...], import_names: tuple[str, ...]) -> bool:
        """Whether it names something of these packages, and nothing of them but these classes."""
        named = {item for item in self.classes if item.partition(":")[0].partition(".")[0] in import_names}
        return bool(named) and named <= set(classes)


def model_of(before: Environment, after: Environment) -> Model:
    """The models that the two sides know of, as one."""
    models = [item for side in (before, after) for item in side.artifacts or () if item.kind == "model"]
    untold = {gap.item for side in (before, after) for gap in side.gaps if gap.section == "artifacts"}
    classes = frozenset(name for item in models for name in item.classes)
    modules = frozenset(name for item in models for name in item.modules) | {name.partition(":")[0] for name in classes}
    return Model(
        known=bool(models) and all((item.classes or item.modules) and item.name not in untold for item in models),
        classes=classes,
        modules=modules,
        # What wrote a file in an exchange format is not what loads it.
        distributions=frozenset(name for item in models if item.classes or item.modules for name, _ in item.versions),
    )


class Roles(NamedTuple):
    """What each distribution is to the model: one of the roles of the general order."""

    model: Model
    before: Mapping[str, Distribution]
    after: Mapping[str, Distribution]
    general: General
    referred: frozenset[str]
    required: frozenset[str]

    @classmethod
    def of(cls, before: Environment, after: Environment, general: General) -> Roles:
        """Follow the model's references to distributions, and those to what they require."""
        model = model_of(before, after)
        sides = effective(before, after), effective(after, before)
        places = [place(one, other) for one, other in ((before, after), (after, before))]
        tops = {module.partition(".")[0] for module in model.modules}
        names = {name for side in sides for name in side}
        referred = {
            name for name in names if name in model.distributions or tops & set(_import_names(name, sides, general))
        }
        required: set[str] = set()
        waiting = list(referred)
        while waiting:
            name = waiting.pop()
            for side, where in zip(sides, places, strict=True):
                for needed in _requires(side.get(name), where):
                    if needed in names and needed not in required | referred:
                        required.add(needed)
                        waiting.append(needed)
        return cls(model, *sides, general, frozenset(referred), frozenset(required))

    def import_names(self, name: str) -> tuple[str, ...]:
        """The names under which a distribution is imported."""
        return _import_names(name, (self.before, self.after), self.general)

    def concerns_model(self, difference: Difference) -> bool:
        """Whether the model may need a distribution: none is known, or its file or the process that trained it does."""
        name = difference.item
        if not self.model.known or name in self.referred | self.required:
            return True
        return any(name in side and side[name].loaded is True for side in (self.before, self.after))

    def role(self, difference: Difference) -> str:
        """The role of the distribution that a difference speaks of."""
        name = difference.item
        if name in self.referred:
            return "referred"
        if name in self.general.development:
            return "development"
        if name in self.required:
            return "required"
        compiled = "compiled" if self._compiled(name) else "pure"
        return f"{compiled}-beside" if self.model.known else compiled

    def _compiled(self, name: str) -> bool:
        tags = [tag for side in (self.before, self.after) if name in side for tag in side[name].wheel_tags]
        if tags:
            return any(not tag.endswith("-none-any") for tag in tags)
        return name in self.general.compiled


def _import_names(
    name: str, sides: tuple[Mapping[str, Distribution], Mapping[str, Distribution]], general: General
) -> tuple[str, ...]:
    recorded = {top for side in sides if name in side for top in side[name].import_names}
    if recorded:
        return tuple(sorted({top.partition(".")[0] for top in recorded}))
    return general.import_names.get(name, (name.replace("-", "_"),))


def _requires(distribution: Distribution | None, where: dict[str, str]) -> set[str]:
    """The names in `Requires-Dist`, without those that only an extra or another place asks for."""
    found = set()
    for line in distribution.requires if distribution is not None else ():
        requirement, _, marker = line.partition(";")
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement.strip())
        if name and (not marker.strip() or markers.holds(marker.strip(), where) is not False):
            found.add(re.sub(r"[-_.]+", "-", name[0]).lower())
    return found
