"""Whether a rule speaks of a difference, and how loudly for this model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from envparity.compare import first_of
from envparity.knowledge.model import Model
from envparity.knowledge.schema import Direction, Rule, When
from envparity.knowledge.versions import LEVELS, direction, level, may_lie_in
from envparity.values import Change, Difference, Distribution, Severity


class Shelf:
    """Rules by what they speak of, so that ten times as many of them cost a comparison next to nothing."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.by_name: dict[tuple[str, str], list[Rule]] = {}
        self.by_section: dict[str, list[Rule]] = {}
        for rule in rules:
            when = rule.when
            if when.distribution:
                self.by_name.setdefault(("distributions", when.distribution), []).append(rule)
            elif when.item and "*" not in when.item:
                self.by_name.setdefault((when.section, when.item), []).append(rule)
            else:
                self.by_section.setdefault(when.section, []).append(rule)

    def of(self, difference: Difference) -> Iterator[Rule]:
        """The rules that may speak of a difference: all that fit it, and few others."""
        name = first_of(difference.item) if difference.section == "distributions" else difference.item
        yield from self.by_name.get((difference.section, name), ())
        if name != difference.item:
            yield from self.by_name.get((difference.section, difference.item), ())
        yield from self.by_section.get(difference.section, ())


def fits(when: When, difference: Difference) -> bool:
    """Whether the difference is of the kind that a rule names. Says nothing yet of the model, nor of `needs`."""
    if difference.change not in when.changes:
        return False
    if when.distribution:
        if (difference.section, difference.field) != ("distributions", "version"):
            return False
        if when.distribution not in {difference.item, first_of(difference.item)}:
            return False
    elif (
        difference.section != when.section
        or (when.item and not fnmatchcase(difference.item, when.item))
        or (when.field and difference.field != when.field)
    ):
        return False
    if difference.change is Change.CHANGED and when.changed_by:
        found = level(difference.before, difference.after)
        if LEVELS.index(found) > LEVELS.index(when.changed_by):
            return False
    return _in_direction(when, difference.before, difference.after)


def _in_direction(when: When, before: str, after: str) -> bool:
    forward = may_lie_in(before, when.before) and may_lie_in(after, when.after)
    if when.direction is Direction.EITHER:
        return forward or (may_lie_in(after, when.before) and may_lie_in(before, when.after))
    return forward and direction(before, after) == (1 if when.direction is Direction.UPGRADE else -1)


def severity(rule: Rule, model: Model, import_names: tuple[str, ...]) -> Severity | None:
    """How loudly a rule that fits speaks for this model; `None` where it does not concern it."""
    if rule.only_these:
        # SAFE holds for a known model that uses nothing of the library but what was measured.
        return rule.severity if model.known and model.refers_only_to(rule.only_these, import_names) else None
    if not rule.model_refers_to:
        return rule.severity
    if any(model.refers_to(prefix) for prefix in rule.model_refers_to):
        return rule.severity
    return rule.elsewhere if model.known else rule.without_model


def met(requirement: str, *sides: Mapping[str, Distribution]) -> bool:
    """Whether at least one side has a distribution that meets the requirement."""
    from packaging.requirements import Requirement

    needed = Requirement(requirement)
    found = (side.get(needed.name) for side in sides)
    return any(
        distribution is not None and may_lie_in(distribution.version or distribution.specifier, str(needed.specifier))
        for distribution in found
    )
