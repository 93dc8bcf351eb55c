"""Differences -> findings: the rules first, then the general order for what no rule names. Pure; loses nothing."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from envparity.knowledge.loader import load_general, rules_about
from envparity.knowledge.match import Shelf, fits, met, severity
from envparity.knowledge.model import Roles
from envparity.knowledge.schema import Fact, General, Rule
from envparity.knowledge.versions import level, upstream
from envparity.values import Change, Difference, Effect, Environment, Finding, Severity

NO_MODEL = "No model was given: pass --model when you take the snapshot, and this is judged for that model."


BESIDE = "The model's file does not refer to it, so it matters where something else that serves the model uses it."


def judge(
    before: Environment,
    after: Environment,
    differences: Iterable[Difference],
    *,
    rules: tuple[Rule, ...] | None = None,
    general: General | None = None,
) -> tuple[Finding, ...]:
    """
    Exactly one finding for each difference, worst first.

    Of the rules that fit, the most severe speaks and names the others in `also`. A rule that says SAFE speaks only
    where no other fits. Of a library that a known model does not need, and that its training had not loaded, a rule
    says medium at most. Where none fits, the general order does. What is not known is never judged to be equal: its
    effect is `unknown`.
    """
    differences = tuple(differences)
    rules = rules_about(differences) if rules is None else rules
    roles = Roles.of(before, after, load_general() if general is None else general)
    shelf = Shelf(rules)
    findings = (_finding(difference, shelf.of(difference), roles) for difference in differences)
    return tuple(sorted(findings, key=_order))


_EFFECTS = {effect: number for number, effect in enumerate(Effect)}


def _order(finding: Finding) -> tuple[int, bool, int, str, str, str, str]:
    difference = finding.difference
    return (
        -finding.severity.rank,
        not finding.rule,
        _EFFECTS[finding.effect],
        difference.section,
        difference.item,
        difference.field,
        difference.before + difference.after,
    )


def _finding(difference: Difference, rules: Iterable[Rule], roles: Roles) -> Finding:
    if difference.change is Change.UNKNOWN:
        return Finding(
            difference=difference,
            severity=Severity.INFO,
            effect=Effect.UNKNOWN,
            reason=f"{roles.general.unknown} {_sentence(difference.note)}".strip(),
        )
    if difference.change is Change.SATISFIED:
        return Finding(
            difference=difference,
            severity=Severity.INFO,
            effect=Effect.UNKNOWN,
            reason=roles.general.satisfied,
            fix=f"pin {difference.item} to the version that the model was trained with",
        )
    fitting = [
        (loudness, rule)
        for rule in rules
        if fits(rule.when, difference)
        and all(met(requirement, roles.before, roles.after) for requirement in rule.when.needs)
        and (loudness := severity(rule, roles.model, roles.import_names(rule.when.distribution))) is not None
    ]
    if not fitting:
        return _general(difference, roles)
    # Of equally grave ones, the one that speaks of what this model refers to.
    fitting.sort(key=lambda pair: (-pair[0].rank, not pair[1].model_refers_to, pair[1].id))
    loudness, rule = fitting[0]
    reason = rule.reason
    if rule.when.distribution and not roles.concerns_model(difference) and loudness.rank > Severity.MEDIUM.rank:
        loudness, reason = Severity.MEDIUM, f"{reason} {BESIDE}"
    if rule.model_refers_to and not roles.model.known and loudness is not rule.severity:
        reason = f"{reason} {NO_MODEL}"
    return Finding(
        difference=difference,
        severity=loudness,
        effect=rule.effect,
        reason=reason,
        rule=rule.id,
        fix=_filled(rule.fix, difference),
        evidence=tuple(proof.evidence for proof in rule.evidence),
        also=tuple(sorted(other.id for _, other in fitting[1:])),
    )


def _sentence(text: str) -> str:
    return text if not text else f"{text[0].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _filled(text: str, difference: Difference) -> str:
    for name in ("item", "before", "after"):
        text = text.replace(f"{{{name}}}", getattr(difference, name))
    return text


def _general(difference: Difference, roles: Roles) -> Finding:
    general = roles.general
    if difference.section == "distributions":
        role, change = roles.role(difference), _level_of_distribution(difference)
        words, how = general.roles[role], general.levels[change]
        reason = _sentence(how.sentence.replace("{role}", words.words))
        effect, loudness, fix = how.effect, words.severities[change], how.fix
    else:
        fact = next(fact for fact in general.facts if _speaks(fact, difference))
        reason, effect, loudness, fix = fact.reason, fact.effect, fact.severity, fact.fix
    if loudness is Severity.INFO:
        fix = ""
    return Finding(difference=difference, severity=loudness, effect=effect, reason=reason, fix=_filled(fix, difference))


def _level_of_distribution(difference: Difference) -> str:
    if difference.change is not Change.CHANGED:
        return str(difference.change)
    if difference.field == "version":
        return level(difference.before, difference.after)
    if difference.field in {"name", "shadowed"}:
        return difference.field
    of_files = difference.field in {"modified", "missing", "added"}
    return "files" if of_files else "wheel"


def _speaks(fact: Fact, difference: Difference) -> bool:
    if fact.section and fact.section != difference.section:
        return False
    if fact.field and fact.field != difference.field:
        return False
    if fact.changes and difference.change not in fact.changes:
        return False
    if fact.items and not any(fnmatchcase(difference.item, pattern) for pattern in fact.items):
        return False
    return not fact.level or fact.level == _level_of_fact(difference)


def _level_of_fact(difference: Difference) -> str:
    if difference.section == "os_packages":
        return "revision" if upstream(difference.before) == upstream(difference.after) else "upstream"
    return level(difference.before, difference.after)
