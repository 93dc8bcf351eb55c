"""Ask pip itself what it makes of every file in `pip.json`, and write its answers there: `python record.py`."""

import json
import os
import tempfile
from pathlib import Path

from pip import __version__
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
    try:
        return list(rows(path))
    except (PipError, LookupError, ValueError, SystemExit) as error:
        return type(error).__name__


place = Path(__file__).with_name("pip.json")
record = json.loads(place.read_text())
record["pip"] = __version__
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for name, case in record["files"].items():
        Path(name).parent.mkdir(exist_ok=True)
        # Byte by byte, so that encodings and line ends survive editors and git.
        Path(name).write_bytes(case["content"].encode("latin-1"))
    for name, case in record["files"].items():
        case["answer"] = answer(name)
    os.chdir("/")
place.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
