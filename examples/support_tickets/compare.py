"""
Compare two files of predictions, ticket by ticket and bit by bit.

    python compare.py training.json other.json

Exit status 0: all labels and probabilities are the same to the last bit. 1: they are not. 2: not comparable.
"""

import json
import sys
from pathlib import Path


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    before, after = (json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:])
    same_kind = before["classes"] == after["classes"] and len(before["tickets"]) == len(after["tickets"])
    if not same_kind or not before["tickets"]:
        print("these are not predictions of one model for the same tickets", file=sys.stderr)
        return 2

    pairs = list(zip(before["tickets"], after["tickets"], strict=True))
    flipped = sum(one["label"] != two["label"] for one, two in pairs)
    moved = sum(one["probabilities"] != two["probabilities"] for one, two in pairs)
    furthest = max(
        abs(float.fromhex(p) - float.fromhex(q))
        for one, two in pairs
        for p, q in zip(one["probabilities"], two["probabilities"], strict=True)
    )

    sides = f"scikit-learn {before['scikit-learn']} and {after['scikit-learn']}"
    if flipped or moved:
        print(f"{sides}: {flipped} of {len(pairs)} tickets get another label,")
        print(f"{moved} of {len(pairs)} other probabilities, by up to {furthest:.2g}")
        return 1
    print(f"{sides}: {len(pairs)} of {len(pairs)} predictions equal to the last bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
