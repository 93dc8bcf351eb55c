"""What pip itself makes of requirements files: `python ask.py FOLDER` prints its answer to each file there, as JSON."""

import json
import os
import sys
from pathlib import Path

from pip._internal.exceptions import PipError
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import parse_requirements


def rows(path):
    for parsed in parse_requirements(path, session=PipSession()):
        found = install_req_from_parsed_requirement(parsed)
        yield {
            "name": found.req.name if found.req else "",
            "specifier": str(found.req.specifier) if found.req else "",
            "marker": str(found.markers) if found.markers else "",
            "extras": sorted(found.extras),
            "placed": found.link is not None,
            "hashes": sorted(f"{name}:{digest}" for name, many in found.hash_options.items() for digest in many),
            "constraint": found.constraint,
            "editable": found.editable,
        }


def answer(path):
    """The rows of a file, or the name of the error with which pip refuses it."""
    try:
        return list(rows(path))
    except (PipError, LookupError, ValueError, SystemExit) as error:
        return type(error).__name__


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    # pip tells of lines that it refuses on standard error, and its parser of options on standard output.
    names = sorted(path.name for path in Path().iterdir())
    with Path(os.devnull).open("w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        answers = {name: answer(name) for name in names}
        sys.stdout = out
    json.dump(answers, sys.stdout)
