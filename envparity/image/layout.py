"""Which rules an image is laid out by: alone in its file, since what was built before is told without those rules."""

from __future__ import annotations

LAYOUT = 1
"""
The number of the rules by which packages, wheels and interpreters become entries (`contents.py`), as a lock records it
(`Packer`). Whoever changes these rules raises it here and there.
"""
