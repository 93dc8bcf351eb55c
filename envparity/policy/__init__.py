"""
What a team decided of findings, as data: exceptions that end on a day, what is forbidden or required, and a baseline.

It changes findings that it names and no others, and none of them vanishes: what was set aside says so, and why.
"""

from __future__ import annotations

from envparity.policy.apply import Applied, apply
from envparity.policy.baseline import Baseline, accept, load_baseline, write_baseline
from envparity.policy.loader import parse_policy
from envparity.policy.schema import Policy

__all__ = ["Applied", "Baseline", "Policy", "accept", "apply", "load_baseline", "parse_policy", "write_baseline"]
