"""
Whether the whole pipeline holds for a large real environment: 232 distributions of machine learning.

    python judged.py [--uv PROGRAM] [--pins FILE] [--folder DIR]

With other pins, say a tenth of them (1 GB, some minutes), it imports what of the named libraries these have.

Every distribution is proven or matched; uv installs the lock, pip its export, and what they install is the environment
of the snapshot, RECORDs and file hashes included; the image is verified against lock and snapshot, and imports the
libraries. It ends with another status than 0 where something of that does not hold, and takes 10 GB in its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ENVPARITY = str(Path(sys.executable).parent / "envparity")
IMPORTED = ("pyarrow", "lightgbm", "cv2", "spacy", "sklearn", "pandas", "numba", "matplotlib")


def started(argv: list[str], folder: Path) -> str:
    """What a command prints, where it ends well; and how long it took."""
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    words = [word for word in argv if len(word) < 60]
    shown = " ".join([Path(words[0]).name, *words[1:]])
    print(f"{time.perf_counter() - began:7.1f} s  {shown}", flush=True)
    if done.returncode:
        sys.exit(f"ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def venv(name: str, uv: str, folder: Path) -> str:
    started([uv, "venv", "-q", "--no-config", "-p", sys.executable, name], folder)
    return f"{name}/bin/python"


def recorded(name: str, folder: Path) -> dict[str, dict[str, object]]:
    """The distributions of an environment, whose files were held against RECORD."""
    started([ENVPARITY, "snapshot", "-q", f"venv:{name}", "--verify-files", "-o", f"{name}.env.json"], folder)
    document = json.loads((folder / f"{name}.env.json").read_text())
    found = {item["name"]: item for item in document["distributions"]}
    changed = [name for name, item in found.items() if item.get("modified") or item.get("missing")]
    if changed:
        sys.exit(f"{name}: files are not those of RECORD in {', '.join(changed)}")
    return found


def installs(uv: str, pip: list[str]) -> dict[str, Callable[[str], list[str]]]:
    alone = ["-q", "--no-config", "--python"]
    hashed = ["install", "-q", "--require-hashes", "--no-deps", "-r", "requirements.txt"]
    return {
        "sync": lambda python: [uv, "pip", "sync", *alone, python, "pylock.toml"],
        "install": lambda python: [uv, "pip", "install", *alone, python, "-r", "pylock.toml"],
        "exported": lambda python: [*pip, "--python", python, *hashed],
    }


def imports(python: str, name: str) -> bool:
    """Whether a module can be imported where the model was trained: pins need not be all that they require."""
    return subprocess.run([python, "-I", "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--uv", default=shutil.which("uv") or "uv")
    parser.add_argument("--pins", type=Path, default=Path(__file__).resolve().parent / "pins.txt")
    parser.add_argument("--folder", type=Path, help="where to work; without it a temporary folder")
    arguments = parser.parse_args()
    uv = str(Path(shutil.which(arguments.uv) or arguments.uv).absolute())
    os.environ.pop("PIP_CONFIG_FILE", None)

    with tempfile.TemporaryDirectory(prefix="envparity-judged-") as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        python = venv("train", uv, folder)
        started([uv, "pip", "install", "-q", "--no-deps", "-p", python, "-r", str(arguments.pins.absolute())], folder)
        wanted = recorded("train", folder)

        started([ENVPARITY, "lock", "-q", "train.env.json", "--prove", "--require", "matched", "--bundle"], folder)
        states = json.loads(started([ENVPARITY, "lock", "pylock.toml", "--explain", "--format", "json"], folder))
        print(f"           {states['counts']}")
        started(
            [ENVPARITY, "export", "-q", "pylock.toml", "--format", "requirements", "-o", "requirements.txt"], folder
        )

        for name, command in installs(uv, [sys.executable, "-m", "pip", "--disable-pip-version-check"]).items():
            started(command(venv(name, uv, folder)), folder)
            found = recorded(name, folder)
            records = {key: (item["version"], item.get("record_sha256")) for key, item in found.items()}
            if records != {key: (item["version"], item.get("record_sha256")) for key, item in wanted.items()}:
                sys.exit(f"{name}: another environment was installed")
            started([ENVPARITY, "diff", "train.env.json", f"{name}.env.json", "--fail-on", "info"], folder)

        started([ENVPARITY, "build", "-q", "pylock.toml", "--offline", "--output", "oci:image"], folder)
        for against in ("pylock.toml", "train.env.json"):
            started([ENVPARITY, "verify", "oci:image", "--against", against], folder)
        imported = [name for name in IMPORTED if imports(str(folder / python), name)]
        if not imported:
            sys.exit(f"where it was trained, none of {', '.join(IMPORTED)} can be imported")
        started([ENVPARITY, "run", "-q", "oci:image", "--", "python", "-c", f"import {', '.join(imported)}"], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
