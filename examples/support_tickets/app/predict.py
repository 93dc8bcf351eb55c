"""
Say which team each ticket belongs to, with a model that was trained before.

    python predict.py MODEL [-o FILE]

Reads `tickets.tsv` beside this file. Writes JSON: the version of scikit-learn that answered and, for each ticket,
its label and the probability of every class, as `float.hex` writes it: two runs can be compared to the last bit.
"""

import argparse
import csv
import json
import sys
import warnings
from pathlib import Path

import joblib
import sklearn

TICKETS = Path(__file__).with_name("tickets.tsv")


def read_tickets(path=TICKETS):
    """The labels that people gave, and the texts of the tickets."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["label"] for row in rows], [row["text"] for row in rows]


def predictions(model, texts):
    """What the model says of each text; nothing is rounded."""
    labels = model.predict(texts)
    probabilities = model.predict_proba(texts)
    return {
        "scikit-learn": sklearn.__version__,
        "classes": [str(name) for name in model.classes_],
        "tickets": [
            {"label": str(label), "probabilities": [float(p).hex() for p in row]}
            for label, row in zip(labels, probabilities, strict=True)
        ],
    }


def write(answer, path):
    """One ticket a line, to a file or to standard output (`-`)."""
    tickets = ",\n".join(json.dumps(ticket) for ticket in answer["tickets"])
    head = json.dumps({key: value for key, value in answer.items() if key != "tickets"})
    text = f'{head[:-1]}, "tickets": [\n{tickets}\n]}}\n'
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description="Say which team each ticket belongs to.")
    parser.add_argument("model")
    parser.add_argument("-o", "--output", default="-", help="where to write the predictions (default: standard output)")
    arguments = parser.parse_args()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = joblib.load(arguments.model)
    answer = predictions(model, read_tickets()[1])
    write(answer, arguments.output)

    for category, text in sorted({(one.category.__name__, str(one.message).split(". ")[0]) for one in caught})[:1]:
        print(f"{category} ({len(caught)} of them): {text}.", file=sys.stderr)
    print(f"scikit-learn {sklearn.__version__}: {len(answer['tickets'])} tickets labelled", file=sys.stderr)


if __name__ == "__main__":
    main()
