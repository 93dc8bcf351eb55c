"""What is known of differences, as data (`*.yaml`), and the judgement that it gives: differences -> findings, pure."""

from __future__ import annotations

from envparity.knowledge.catalogue import search, told
from envparity.knowledge.judge import judge
from envparity.knowledge.loader import load_general, load_rules, parse_rules, with_own
from envparity.knowledge.schema import Direction, General, Rule, When

__all__ = [
    "Direction",
    "General",
    "Rule",
    "When",
    "judge",
    "load_general",
    "load_rules",
    "parse_rules",
    "search",
    "told",
    "with_own",
]
