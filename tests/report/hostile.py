"""Reports whose every text is an attack, and ones that are too large: what a renderer has to withstand."""

from __future__ import annotations

from hypothesis import strategies as st

from envparity.values import (
    Change,
    Difference,
    Effect,
    Evidence,
    Finding,
    Gap,
    GapKind,
    Layer,
    Origin,
    Place,
    Report,
    Severity,
)

ATTACKS = (
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "</script><script>document.title='pwned'</script>",
    "'\"><svg onload=document.title='pwned'>",
    "{{ 7*7 }}{% raw %}",
    "a|b\\|c",
    "`code` ``` ```",
    "[click](https://evil.example/)",
    "![pixel](https://evil.example/p.png)",
    "@octocat @org/team",
    "owner/repo#1 #2 GH-3",
    "https://evil.example/ www.evil.example",
    "</details><h1>all is well</h1>",
    "a\n\n# heading\n::error::forged\r\n::set-output name=x::y",
    "::stop-commands::token",
    "##[error]forged",
    "100%25,title=x:y",
    "]]>&amp;&#0;<!-- --><![CDATA[",
    "nul\x00 bell\x07 escape\x1b[2J\x1b]0;title\x07 \x85 \u2028",
    "\u202egpj.exe\u200b\ufeff",
    "\ud800 half a pair",
    "\ufffe\uffff no character",
    "$`math`$ :smile: ~~struck~~ *bold* _em_",
    "- item",
    "1. item",
    "> quoted",
    "    indented",
)
"""Texts that mean something to a browser, to Markdown, to XML, to a runner of workflows or to a terminal."""

texts = st.one_of(st.sampled_from(ATTACKS), st.text(st.characters(), max_size=60))


def finding(text: str, severity: Severity = Severity.CRITICAL, change: Change = Change.CHANGED) -> Finding:
    """A finding of which every text that comes from data is this one."""
    return Finding(
        difference=Difference(
            section="distributions", item=text, field="version", change=change, before=text, after=text, note=text
        ),
        severity=severity,
        effect=Effect.SILENT_NUMERIC,
        reason=text,
        fix=text,
        rule=text,
        evidence=(Evidence(kind="cited", gist=text, url=text, read_on=text),),
        also=(text,),
        policy=text,
        was=Severity.HIGH,
    )


def report_of(*findings: Finding, text: str = "prod.txt", blocked: bool = False) -> Report:
    """A report of them, whose labels and gaps are a text of data too."""
    return Report(
        before=text,
        after=text,
        before_digest="sha256:" + "0" * 64,
        after_digest="sha256:" + "1" * 64,
        findings=findings,
        compared=len(findings),
        complete=not blocked,
        fail_on=Severity.HIGH,
        status=1 if findings else 3 if blocked else 0,
        blocked=(text,) if blocked else (),
        gaps_before=(Gap(section="cpu", kind=GapKind.UNREAD, reason=text, item=text),),
        notes=(text,),
        pins=(text,) if findings else (),
        unused=(text,),
        layers=(Layer(name="Python", before=text, after=text), Layer(name="Model", before=text)),
        same=(text,),
        origin_before=Origin(kind="live", reference=text, taken_at=text),
        origin_after=Origin(kind="requirements", reference=text, taken_at=text),
        place=Place(path=text, lines=((text, 3),)),
    )


def hostile(text: str) -> Report:
    """Every place of a report, filled with one text."""
    changes = (finding(text, severity) for severity in Severity)
    return report_of(*changes, finding(text, Severity.INFO, Change.UNKNOWN), text=text)


def large(count: int = 100_000) -> Report:
    """So many findings, from a snapshot that somebody made for this."""
    return report_of(*(finding(f"package-{number}") for number in range(count)))


HUGE = "x" * 1_000_000
