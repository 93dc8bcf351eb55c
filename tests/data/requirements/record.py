"""Ask pip itself what it makes of every file in `pip.json`, and write its answers there: `python record.py`."""

import json
import os
import tempfile
from pathlib import Path

from ask import answer
from pip import __version__

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
