"""The verdict on an image: pass or fail first, then what decided it, what was declared, and what was not known."""

from __future__ import annotations

from envparity.report.diff import encoded, finding_object, gaps
from envparity.report.text import Style, finding_block, finding_line
from envparity.report.unknown import unknown_lines
from envparity.values import Change, Severity, Verdict
from envparity.words import counted


def text(verdict: Verdict, style: Style | None = None, *, verbose: bool = False) -> str:
    """For a person."""
    style = style or Style()
    word, code = ("VERIFIED", "1;32") if verdict.passed else ("NOT VERIFIED", "1;31")
    lines = [style.paint(line, code) for line in style.wrapped(f"{word}: {verdict.image} against {verdict.against}")]
    if verdict.digest:
        lines += style.wrapped(verdict.digest, first="  ", indent="  ")
    for number, (name, count) in enumerate(verdict.checked, 1):
        lines += style.wrapped(f"{count:,} {name}", first=f"  {number}.", indent=" " * 5)
    known = [finding for finding in verdict.findings if finding.difference.change is not Change.UNKNOWN]
    full = [finding for finding in known if finding.severity.at_least(Severity.MEDIUM)]
    for finding in full:
        lines += ["", *finding_block(finding, style)]
    lesser = [finding for finding in known if finding not in full]
    shown = lesser if verbose else [finding for finding in lesser if finding.severity is not Severity.INFO]
    if lesser:
        lines += ["", style.bold("Smaller differences"), *(finding_line(finding, style) for finding in shown)]
        if len(lesser) > len(shown):
            lines.append(f"  info    {counted(len(lesser) - len(shown), 'harmless one')} (-v lists them)")
    if verdict.declared:
        lines += ["", style.bold("Declared, and not judged")]
        for line in verdict.declared:
            lines += style.wrapped(line, first="  ", indent="    ")
    unknown = [*unknown_lines(verdict.findings, (), verdict.gaps, (verdict.against, verdict.image), style)]
    if unknown:
        lines += ["", style.bold("Not known"), *unknown]
    lines += ["", f"Exit status {verdict.status}."]
    return "\n".join(lines) + "\n"


def json(verdict: Verdict, style: Style | None = None, *, verbose: bool = False) -> str:
    """For a program, with keys that are always there."""
    body = {
        "schema": 1,
        "kind": "verdict",
        "passed": verdict.passed,
        "status": verdict.status,
        "image": verdict.image,
        "against": verdict.against,
        "digest": verdict.digest,
        "checked": [{"step": name, "count": count} for name, count in verdict.checked],
        "findings": [finding_object(finding) for finding in verdict.findings],
        "declared": list(verdict.declared),
        "gaps": gaps(verdict.gaps),
    }
    return encoded(body)
