"""
The lab: what the releases of a library make of each other's models.

    python3 noxfile.py -s lab                                       every library, and the pages in docs/lab/
    python3 noxfile.py -s lab -- scikit-learn numpy                 these two
    python3 noxfile.py -s lab -- scikit-learn --before 1.4.2 --after 1.5.2 --case TfidfVectorizer
                                                                    one cell, shown and not written

For each library of `libraries.toml` it makes an environment per release, fits and pickles (or computes) every case in
each, lets each other one load and use them, and writes `docs/lab/LIBRARY.json`. What was measured once is kept in
`.lab/`, under a key of all that it depends on, so that a run that was stopped goes on where it ended.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import datetime
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from tests.lab.cite import cite  # noqa: E402
from tests.lab.compare import FAILS_AT_LOAD, FAILS_AT_PREDICT, IDENTICAL, NOT_THERE, Outcome, compare  # noqa: E402
from tests.lab.written import Cell, Measured, write  # noqa: E402

WORKER = HERE / "worker.py"
# One thread each: sums in another order would be told as a difference between releases.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"), "1")


class Library(NamedTuple):
    """A row of `libraries.toml`."""

    name: str
    cases: Path
    python: str
    releases: tuple[str, ...]
    requirements: dict[str, list[str]]
    as_of: str
    distribution: str


def libraries() -> dict[str, Library]:
    table = tomllib.loads((HERE / "libraries.toml").read_text(encoding="utf-8"))
    as_of = table.pop("as_of")
    found = {}
    for name, row in table.items():
        distribution = row.get("distribution", name)
        other = row.get("other_beside", {})
        requirements = {
            release: [f"{distribution}=={release}", *other.get(release, row.get("beside", []))]
            for release in row["releases"]
        }
        releases = tuple(row["releases"])
        cases = HERE / "cases" / row["cases"]
        found[name] = Library(name, cases, row["python"], releases, requirements, as_of, distribution)
    return found


class Lab:
    """The environments and results of one library, kept below a folder."""

    def __init__(self, library: Library, folder: Path, uv: str) -> None:
        self.library, self.uv = library, uv
        self.folder = folder / library.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.frozen: dict[str, dict[str, str]] = {}
        self.pythons: dict[str, str] = {}

    def python(self, release: str) -> Path:
        return self.folder / "environments" / release / "bin" / "python"

    def environment(self, release: str) -> None:
        """Make the environment of a release, unless it is there; note what is in it."""
        library = self.library
        wanted = json.dumps([library.python, library.as_of, library.requirements[release]])
        place = self.python(release).parent.parent
        stamp = place / "lab.json"
        if not stamp.exists() or json.loads(stamp.read_text())["wanted"] != wanted:
            shutil.rmtree(place, ignore_errors=True)
            self._uv("venv", "--quiet", "--python", library.python, str(place))
            self._uv(
                "pip", "install", "--quiet", "--python", str(self.python(release)), "--exclude-newer", library.as_of,
                "--only-binary", ":all:", *library.requirements[release],
            )  # fmt: skip
            listed = json.loads(self._uv("pip", "list", "--python", str(self.python(release)), "--format", "json"))
            asked = [str(self.python(release)), "-I", "-c", "import platform; print(platform.python_version())"]
            version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
            frozen = {item["name"]: item["version"] for item in listed}
            stamp.write_text(json.dumps({"wanted": wanted, "frozen": frozen, "python": version}))
        kept = json.loads(stamp.read_text())
        self.frozen[release], self.pythons[release] = kept["frozen"], kept["python"]

    def _uv(self, *argv: str) -> str:
        environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never", VIRTUAL_ENV="")
        done = subprocess.run([self.uv, *argv], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"error: uv {argv[0]} failed for {self.library.name}: {done.stderr.strip()}")
        return done.stdout

    def key(self, *releases: str) -> str:
        """A digest of all that a result depends on: what the scripts say, and what is in the environments."""
        parts = [ast.dump(ast.parse(path.read_bytes())).encode() for path in (WORKER, self.library.cases)]
        parts += [json.dumps([self.frozen[item], self.pythons[item]], sort_keys=True).encode() for item in releases]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    def listed(self) -> dict[str, bool]:
        """The names of the cases; whether each has an object that is pickled."""
        argv = [str(self.python(self.library.releases[-1])), "-I", str(WORKER), str(self.library.cases), "list"]
        return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    def made(self, release: str) -> dict[str, dict[str, Any]]:
        """What a release makes of each case, and the pickles in the folder `made/RELEASE`."""
        place = self.folder / "made" / release
        key = self.key(release)
        if not (place / "key").exists() or (place / "key").read_text() != key:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            self._work(release, place / "made.jsonl", "make", str(place))
            (place / "key").write_text(key)
        return _answers(place / "made.jsonl")

    def again(self, release: str) -> dict[str, dict[str, Any]]:
        """What the same release makes, in another process, of what is only computed: a case must agree with itself."""
        place = self.folder / "again" / release
        key, computed = self.key(release), [name for name, pickled in self.listed().items() if not pickled]
        if computed and (not (place / "key").exists() or (place / "key").read_text() != key):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            self._run(release, place / "made.jsonl", computed, "make", str(place))
            (place / "key").write_text(key)
        return _answers(place / "made.jsonl") if computed else {}

    def loaded(self, before: str, after: str) -> dict[str, dict[str, Any]]:
        """What one release makes of the pickles of another."""
        place = self.folder / "loaded"
        place.mkdir(exist_ok=True)
        result, stamp = place / f"{before}--{after}.jsonl", place / f"{before}--{after}.key"
        key = self.key(before, after)
        if not result.exists() or not stamp.exists() or stamp.read_text() != key:
            result.write_text("")
            self._work(after, result, "load", str(self.folder / "made" / before), str(result))
            stamp.write_text(key)
        return _answers(result)

    def _work(self, release: str, result: Path, *argv: str) -> None:
        """Every case; to load, those that the other release has made."""
        made = _answers(self.folder / "made" / Path(argv[1]).name / "made.jsonl") if argv[0] == "load" else {}
        waiting = [
            name
            for name, pickled in self.listed().items()
            if argv[0] == "make" or (pickled and not {"absent", "broken"} & made.get(name, {"absent": 1}).keys())
        ]
        self._run(release, result, waiting, *argv)

    def _run(self, release: str, result: Path, waiting: list[str], *argv: str) -> None:
        """Run the worker; where a case takes it down, blame that case and go on with the rest."""
        while waiting:
            command = [str(self.python(release)), "-I", str(WORKER), str(self.library.cases), *argv, *waiting]
            environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | THREADS
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            lines = result.read_text(encoding="utf-8").splitlines() if result.exists() else []
            last = json.loads(lines[-1]) if lines else {}
            if waiting[-1] == last.get("case"):
                return  # every case is answered: it was only the end of the process that failed
            if "begin" not in last:
                raise SystemExit(f"error: {self.library.name} {release}: {done.stderr.strip()[-2000:]}")
            blamed = last["begin"]
            crash = f"the process ended with {done.returncode}"
            answer = {"case": blamed, "outputs": {}, "failures": {}, "warns": []}
            answer["load" if argv[0] == "load" else "broken"] = crash
            with result.open("a", encoding="utf-8") as out:
                out.write(json.dumps(answer) + "\n")
            waiting = waiting[waiting.index(blamed) + 1 :]


def _answers(path: Path) -> dict[str, dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return {item["case"]: item for item in found if "case" in item}


def measure(lab: Lab, jobs: int) -> Measured:
    """Every pair of releases of a library."""
    library = lab.library
    for release in library.releases:
        lab.environment(release)
    pickled = lab.listed()
    pairs = [(before, after) for before in library.releases for after in library.releases]
    with ThreadPoolExecutor(jobs) as pool:
        made = dict(zip(library.releases, pool.map(lab.made, library.releases), strict=True))
        again = dict(zip(library.releases, pool.map(lab.again, library.releases), strict=True))
        jobs_done = [(pair, pool.submit(lab.loaded, *pair)) for pair in pairs]
        loaded = {}
        for number, (pair, job) in enumerate(jobs_done, 1):
            loaded[pair] = job.result()
            if number % len(library.releases) == 0:
                print(f"{library.name}: {number} of {len(pairs)} pairs", file=sys.stderr, flush=True)
    cells: dict[tuple[str, str, str], Cell] = {}
    unsteady: dict[str, list[str]] = {}
    for name in sorted(pickled):
        for before, after in pairs:
            second = again if before == after and not pickled[name] else made
            outcome, warns = cell(name, pickled[name], made, second, loaded, before, after)
            if before != after:
                cells[name, before, after] = Cell(outcome.word, without_place(outcome.note), warns)
            elif outcome.word not in (IDENTICAL, NOT_THERE):
                told = f"{before}: {outcome.word} {without_place(outcome.note)}".strip()
                unsteady.setdefault(name, []).append(told)
    classes = {name: classes_of(lab, name) for name, has in sorted(pickled.items()) if has}
    environments = {
        release: {"python": lab.pythons[release], "distributions": lab.frozen[release]} for release in library.releases
    }
    return Measured(library.name, library.distribution, environments, pickled, classes, cells, unsteady)


_OF_THIS_RUN = (
    (r" from '/[^';]*(?:'>?)?", ">"),  # where a module lies; a long path may be cut before it ends
    (r"\[[0-2]\d:\d\d:\d\d\] ", ""),
    (r"\b0x[0-9a-f]{6,}", "0x…"),
    (r"(?<![\w.])/(?:[\w.@+-]+/)+", ""),
)


def without_place(note: str) -> str:
    """A note without what is of this machine or of this one run: the time, addresses, folders."""
    for pattern, other in _OF_THIS_RUN:
        note = re.sub(pattern, other, note)
    return note


def cell(
    name: str,
    pickled: bool,
    made: dict[str, Any],
    other: dict[str, Any],
    loaded: dict[Any, Any],
    before: str,
    after: str,
) -> tuple[Outcome, str]:
    """One cell of the matrix: the outcome, and the warnings that were shown. `other` is what `after` makes itself."""
    first = made[before][name]
    if "broken" in first:
        return Outcome(NOT_THERE, first["broken"]), ""
    if "absent" in first or (not pickled and "absent" in other[after][name]):
        return compare(first, other[after][name]), ""
    # A pickle is compared with what its own release makes of it: writing and reading it can move last bits by itself.
    second = loaded[before, after][name] if pickled else other[after][name]
    if pickled and before != after and "load" not in loaded[before, before][name]:
        first = loaded[before, before][name]
    if "broken" in second:
        word = FAILS_AT_LOAD if pickled else FAILS_AT_PREDICT
        return Outcome(word, second["broken"]), ""
    return compare(first, second), " ".join(second["warns"])


def classes_of(lab: Lab, name: str) -> dict[str, list[str]]:
    """What the pickles of a case name, as a snapshot would record it: class -> releases that write it."""
    from envparity.collectors.models import model

    found: dict[str, list[str]] = {}
    for release in lab.library.releases:
        path = lab.folder / "made" / release / f"{name}.pkl"
        if path.exists():
            fact = next(fact for fact in model(str(path), path.name) if fact["kind"] == "artifact")
            for reference in fact["classes"]:
                found.setdefault(reference, []).append(release)
    return dict(sorted(found.items()))


def machine() -> dict[str, str]:
    """The host, as far as it can matter to a number."""
    processor, flags = platform.machine(), set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                processor = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    vector = next((flag for flag in ("avx512f", "avx2", "sse2") if flag in flags), "")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    libc = " ".join(platform.libc_ver())
    return {"processor": f"{processor} ({vector})", "system": system, "libc": libc, "threads": "1"}


def show(lab: Lab, before: str, after: str, case: str) -> None:
    """One cell, with the traceback where it fails."""
    for release in {before, after}:
        lab.environment(release)
    pickled = lab.listed()
    if case not in pickled:
        raise SystemExit(f"error: {lab.library.name} has no case `{case}`; there are {', '.join(sorted(pickled))}")
    made = {release: lab.made(release) for release in {before, after}}
    loaded = {pair: lab.loaded(*pair) for pair in {(before, before), (before, after)}}
    outcome, warns = cell(case, pickled[case], made, made, loaded, before, after)
    print(f"{lab.library.name}/{case}/{before}->{after}: {outcome.word}")
    for line in filter(None, (outcome.note, f"warnings: {warns}" if warns else "")):
        print(f"  {line}")
    print(loaded[before, after].get(case, {}).get("trace", ""), end="")


def main() -> None:
    table = libraries()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="*", metavar="LIBRARY", help=f"one of {', '.join(table)}; none: all")
    parser.add_argument("--uv", default=shutil.which("uv"), help="the program uv")
    parser.add_argument("--work", type=Path, default=ROOT / ".lab", help="where environments and results are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "lab", help="where data and pages are written")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes at a time")
    parser.add_argument("--before", help="show one cell: the release that pickles")
    parser.add_argument("--after", help="show one cell: the release that loads")
    parser.add_argument("--case", help="show one cell: the case")
    parser.add_argument(
        "--cite", action="store_true", help="measure nothing: bring the digests in the rules up to date"
    )
    given = parser.parse_args()
    if given.cite:
        for changed in cite(given.out, ROOT / "envparity" / "knowledge"):
            print(changed)
        return
    for name in given.library:
        if name not in table:
            parser.error(f"no library `{name}`; there are {', '.join(table)}")
    if given.uv is None:
        parser.error("there is no uv on PATH: start the lab by `python3 noxfile.py -s lab`, or name it with --uv")
    one = (given.before, given.after, given.case)
    if any(one):
        if not all(one) or len(given.library) != 1:
            parser.error("one cell needs one LIBRARY, --before, --after and --case")
        library = table[given.library[0]]
        for release in one[:2]:
            if release not in library.releases:
                parser.error(f"{library.name} {release} is not measured; there are {', '.join(library.releases)}")
        show(Lab(library, given.work, given.uv), *one)
        return
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    for name in given.library or table:
        found = measure(Lab(table[name], given.work, given.uv), given.jobs)
        write(found, given.out, machine(), today, table[name].as_of)
    from tests.lab.page import render

    render(given.out)


if __name__ == "__main__":
    main()
