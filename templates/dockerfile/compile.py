"""
Byte code beside every module below some folders, made by the Python that runs this.

    python compile.py [--root DIR] FOLDER...

With `--root` the folders are looked for below DIR, and lie at the root of the image later on.

The byte code is unchecked (https://peps.python.org/pep-0552/): Python never asks whether it is that of the module
beside it, so whoever changes a module in an image runs this again. It is the same in every build: `compiling.py`,
beside this file, is what makes it. A module that no Python of this version can compile (a template, a test of a parser)
is left as it is, as pip leaves it.
"""

import argparse
import os
import shutil
import sys
import warnings
from pathlib import Path

from compiling import compiled

SEED = "PYTHONHASHSEED"


def modules(folder):
    """Every module below a folder, in order; what was compiled before, by whatever, is gone."""
    for parent, folders, names in os.walk(str(folder)):
        if "__pycache__" in folders:
            shutil.rmtree(str(Path(parent, "__pycache__")))
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in sorted(names):
            place = Path(parent, name)
            if name.endswith(".py") and str(place).isprintable() and place.is_file() and not place.is_symlink():
                yield place


def compile_all(places, root):
    """Write the byte code of modules, which are told the path that they will have in the image."""
    for place in places:
        path = "/" + place.relative_to(root).as_posix()
        try:
            code = compiled(place.read_bytes(), path)
        except Exception as error:  # noqa: BLE001 (whatever the compiler says of a source that is none)
            sys.stdout.write(f"left as it is: {path} ({type(error).__name__})\n")
            continue
        target = place.parent / "__pycache__" / f"{place.stem}.{sys.implementation.cache_tag}.pyc"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(code)


def main():
    """Share the modules out among the processors; exit status 1 where one of them could not be written."""
    parser = argparse.ArgumentParser(description="Write byte code beside every module below some folders.")
    parser.add_argument("--root", default="/", metavar="DIR", help="where the image's root is here")
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="by its path in the image")
    given = parser.parse_args()
    if os.environ.get(SEED) != "0":
        # Before Python 3.11 the order of a set of constants follows from it.
        os.execve(sys.executable, [sys.executable, "-sSB", *sys.argv], {**os.environ, SEED: "0"})  # noqa: S606 (itself)
    warnings.simplefilter("ignore")
    root = Path(given.root)
    found = [place for folder in given.folders for place in modules(root / folder.lstrip("/"))]
    at_once = len(os.sched_getaffinity(0))
    started = []
    for number in range(at_once):
        process = os.fork()
        if process == 0:
            return compile_all(found[number::at_once], root)
        started.append(process)
    if max(os.waitpid(process, 0)[1] for process in started):
        sys.exit(1)
    sys.stdout.write(f"looked at {len(found):,} modules\n")
    return None


if __name__ == "__main__":
    main()
