"""
How long the verbs take, beside the tools that one knows.

    python bench.py [--uv PROGRAM] [--runs N] [--only start,snapshot,files,images,running,lock,many,build,story]

Every figure is the median of several runs on this machine, in milliseconds, and its ratio to the first row of its
group: the ratio is what can be compared with another machine. It needs an installed envparity, not the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import building
import made

BIN = Path(sys.executable).parent
LIBRARIES = ("scikit-learn==1.5.2", "numpy==2.1.3", "joblib==1.4.2", "pandas==2.2.3", "requests==2.32.3")


def median_ms(argv: list[str], runs: int, folder: Path) -> float | None:
    """The median time of a command in milliseconds after one run that does not count; nothing where it fails."""
    taken = []
    for number in range(runs + 1):
        began = time.perf_counter()
        done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            print(f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr.decode()[-300:]}", file=sys.stderr)
            return None
        if number:
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def processor_ms(argv: list[str], folder: Path) -> float:
    """What a command and all that it starts take of the processor, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def table(title: str, rows: list[tuple[str, list[str]]], runs: int, folder: Path) -> None:
    print(f"\n{title}\n\n| what | ms | ratio |\n| --- | ---: | ---: |")
    first: float | None = None
    for name, argv in rows:
        ms = median_ms(argv, runs, folder)
        first = first or ms
        print(f"| {name} | {ms:.0f} | {ms / first:.1f} |" if ms and first else f"| {name} | failed | |", flush=True)


def made_venv(folder: Path, name: str) -> Path:
    """A virtual environment with nothing in it; its folder of distributions."""
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", name], cwd=folder, check=True)
    return next((folder / name).glob("lib/python3*/site-packages"))


def snapshots(folder: Path, uv: str, runs: int) -> None:
    """A snapshot of 235 distributions beside pip, whole commands; and of 2,000 beside that of 235."""
    envparity = str(BIN / "envparity")
    for count in (235, 2000):
        made.distributions(made_venv(folder, f"env{count}"), count)
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, "piper"], cwd=folder, check=True)
    subprocess.run([uv, "pip", "install", "-q", "-p", "piper", "pip"], cwd=folder, check=True)
    pip = [str(folder / "piper/bin/python"), "-I", "-m", "pip", "--python", "env235"]
    rows = [
        ("`envparity snapshot`, 235 distributions", [envparity, "snapshot", "venv:env235", "-o", "235.env.json"]),
        ("`pip freeze`", [*pip, "freeze"]),
        ("`pip inspect`", [*pip, "inspect"]),
        ("`envparity snapshot`, 2,000", [envparity, "snapshot", "venv:env2000", "-o", "2000.env.json"]),
    ]
    table("Snapshot of a made environment", rows, runs, folder)


PLAIN_LOOP = """
import hashlib, os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            hashlib.sha256(file.read()).digest()
"""


def verifying(folder: Path, runs: int) -> None:
    """Every file of a large environment hashed, beside a plain loop over the same files; both from the page cache."""
    made.files(made_venv(folder, "large"), 54_800, 3_100 << 20)
    rows = [
        ("a plain loop of sha256", [sys.executable, "-I", "-c", PLAIN_LOOP, "large"]),
        (
            "`envparity snapshot --verify-files`",
            [str(BIN / "envparity"), "snapshot", "venv:large", "--verify-files", "-o", "large.env.json"],
        ),
    ]
    table("3.1 GiB in 54,800 files", rows, min(runs, 3), folder)
    shutil.rmtree(folder / "large")


ONE_HASH = "import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256').hexdigest())"


def images(folder: Path, runs: int) -> None:
    """An image of plain layers from an archive and from a registry, beside one sha256 of it: the least that is due."""
    site_packages = made_venv(folder, "inside")
    made.distributions(site_packages, 235)
    made.image(folder / "image.tar", site_packages, 30_000, 1_100 << 20)
    envparity = str(BIN / "envparity")
    snapshot = [envparity, "snapshot", "--allow-incomplete", "-o", "image.env.json"]
    with made.registry(folder / "image.tar") as reference:
        anew = 'rm -rf anew && ENVPARITY_CACHE_DIR="$PWD/anew" exec "$@"'
        cached = 'ENVPARITY_CACHE_DIR="$PWD/cached" exec "$@"'
        rows = [
            ("one sha256 of the archive", [sys.executable, "-I", "-c", ONE_HASH, "image.tar"]),
            ("`envparity snapshot docker-archive:`", [*snapshot, "docker-archive:image.tar"]),
            ("`envparity snapshot registry:`, read anew", ["sh", "-c", anew, "sh", *snapshot, reference]),
            ("`envparity snapshot registry:`, read before", ["sh", "-c", cached, "sh", *snapshot, reference]),
        ]
        table("An image of 1.1 GB in 30,000 files", rows, min(runs, 3), folder)
    (folder / "image.tar").unlink()


TAKE = "import sys; sys.path += {!r}; from envparity import snapshot; snapshot.take('inside.env.json', strict=True)"


def running(folder: Path, uv: str, runs: int) -> None:
    """What only running code knows: beside a plain import of the same modules, and at the end of a script."""
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, "deep"], cwd=folder, check=True)
    installing = [uv, "pip", "install", "-q", "--compile-bytecode", "-p", "deep", "numpy==2.1.3", "scipy==1.14.1"]
    subprocess.run(installing, cwd=folder, check=True)
    own = [path for path in sys.path if path.endswith("site-packages")]
    python, envparity = str(folder / "deep/bin/python"), str(BIN / "envparity")
    imports = "import numpy, scipy.linalg"
    rows = [
        (f"`{imports}`", [python, "-B", "-c", imports]),
        ("`envparity snapshot`", [envparity, "snapshot", "venv:deep", "-o", "deep.env.json"]),
        ("`envparity snapshot --deep`", [envparity, "snapshot", "venv:deep", "--deep", "-o", "deep.env.json"]),
        ("the import, and `snapshot.take()`", [python, "-B", "-c", f"{imports}\n{TAKE.format(own)}"]),
    ]
    table("Numerics of a running process", rows, runs, folder)
    print("\nThe same in time of the processor, whatever works beside it\n\n| what | ms |\n| --- | ---: |")
    for name, argv in rows:
        print(f"| {name} | {statistics.median(processor_ms(argv, folder) for _ in range(runs)):.0f} |", flush=True)


READ_TWO = "import json, sys; [json.load(open(name)) for name in sys.argv[1:]]"
IN_PROCESS = """
import statistics, sys, time, msgspec
from envparity.codec import load_environment
from envparity.diff import between
from envparity.knowledge import load_rules
before, after = (load_environment(open(name, "rb").read(), name) for name in sys.argv[1:3])
rules = load_rules()
other = lambda rule, n: msgspec.structs.replace(rule, id=f"{rule.id}-{n}", when=msgspec.structs.replace(
    rule.when, distribution=rule.when.distribution and f"{rule.when.distribution}-{n}",
    section=rule.when.section and f"{rule.when.section}-{n}"))
many = rules + tuple(other(rule, n) for n in range(9) for rule in rules)
for title, known in (("in process", rules), (f"in process, ten times the rules ({len(many):,})", many)):
    taken = []
    for _ in range(21):
        began = time.perf_counter()
        between(before, after, rules=known)
        taken.append((time.perf_counter() - began) * 1000)
    print(f"{title}|{statistics.median(taken):.1f}")
"""


def diffs(folder: Path, runs: int) -> None:
    """Two environments of 235 distributions, of which every seventh is another version; and a thousand of them."""
    envparity = str(BIN / "envparity")
    made.distributions(made_venv(folder, "left"), 235)
    take = [envparity, "snapshot", "venv:left", "-o", "left.env.json"]
    subprocess.run(take, cwd=folder, check=True, capture_output=True)
    document = json.loads((folder / "left.env.json").read_bytes())
    document.pop("content_digest", None)
    for number, item in enumerate(document["distributions"]):
        item["version"] += ".1" if number % 7 == 0 else ""
    (folder / "many").mkdir()
    text = json.dumps(document)
    (folder / "right.env.json").write_text(text)
    for number in range(1000):
        (folder / f"many/{number:04}.env.json").write_text(text.replace("1.0.1", f"1.0.{number}"))
    sides = ["left.env.json", "right.env.json"]
    rows = [
        ("both read as JSON, and no more", [sys.executable, "-I", "-c", READ_TWO, *sides]),
        ("`envparity diff`", [envparity, "diff", *sides, "-o", "diff.json"]),
        ("`envparity diff --many`, 1,000 snapshots", [envparity, "diff", "--many", "many", sides[0], "-o", "many.txt"]),
    ]
    table("Two environments of 235 distributions", rows, min(runs, 5), folder)
    told = subprocess.run([sys.executable, "-c", IN_PROCESS, *sides], cwd=folder, check=True, capture_output=True)
    print("\n| comparing | ms |\n| --- | ---: |")
    for line in told.stdout.decode().splitlines():
        print("| {} | {} |".format(*line.split("|")), flush=True)


def received_bytes() -> int:
    """What all networks but the loopback have brought to this machine so far: of others too, where others work."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[0]) for line in lines if line.partition(":")[0].strip() != "lo")


def in_turn(title: str, rows: list[tuple[str, list[str]]], runs: int, folder: Path) -> None:
    """Every command once a round, so that all see the same minutes of network and machine; the first does not count."""
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name, _ in rows}
    for _ in range(runs + 1):
        for name, argv in rows:
            before, bytes_before = resource.getrusage(resource.RUSAGE_CHILDREN), received_bytes()
            began = time.perf_counter()
            subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
            clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            taken[name].append((clock, processor, (received_bytes() - bytes_before) / 1e6))
    print(f"\n{title}, {runs} runs in turn\n\n| what | s | processor, s | ratio | MB received |")
    print("| --- | ---: | ---: | ---: | ---: |")
    first = 0.0
    for name, found in taken.items():
        clocks, processors, megabytes = (sorted(column) for column in zip(*found[1:], strict=True))
        clock = statistics.median(clocks)
        first = first or clock
        span = f"{clocks[0]:.2f} to {clocks[-1]:.2f}"
        row = f"{span} | {statistics.median(processors):.2f} | {clock / first:.1f} | {statistics.median(megabytes):.0f}"
        print(f"| {name} | {row} |", flush=True)


def locks(folder: Path, uv: str, runs: int) -> None:
    """
    232 real distributions, locked with nothing cached, and again, and proven; beside uv, which hashes the same pins.

    It installs 1.7 GB. uv says nothing of an image: what a lock of one distribution takes is the base, and the start.
    Once for the Python that runs this, and where the system has one of the same X.Y too, also for that one: which of
    the two the base brings, and which has to be captured, is the first thing that a lock says.
    """
    pins = Path(__file__).resolve().parent / "pins.txt"
    envparity = str(BIN / "envparity")
    xy = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = {os.path.realpath(path): path for path in (f"/usr/bin/{xy}", sys.executable) if Path(path).exists()}
    hashed = [uv, "pip", "compile", "-q", "--no-deps", "--generate-hashes", "-p", sys.executable, str(pins)]
    rows = [
        ("`uv pip compile --no-deps --generate-hashes --no-cache`", [*hashed, "--no-cache", "-o", "cold.txt"]),
        ("the same with its cache", [*hashed, "-o", "warm.txt"]),
    ]
    for number, python in enumerate(pythons.values()):
        for name, wanted in (("all", ["-r", str(pins)]), ("one", ["six"])):
            venv = f"{name}{number}"
            subprocess.run([uv, "venv", "-q", "-p", python, venv], cwd=folder, check=True)
            subprocess.run([uv, "pip", "install", "-q", "--no-deps", "-p", venv, *wanted], cwd=folder, check=True)
            take = [envparity, "snapshot", f"venv:{venv}", "-o", f"{venv}.env.json"]
            subprocess.run(take, cwd=folder, check=True, capture_output=True)
        lock = [envparity, "lock", f"all{number}.env.json", "-o", f"pylock.all{number}.toml"]
        of_one = [envparity, "lock", f"one{number}.env.json", "-o", f"pylock.one{number}.toml"]
        anew = ["sh", "-c", f'rm -rf anew{number} && ENVPARITY_CACHE_DIR="$PWD/anew{number}" exec "$@"', "sh"]
        again = ["sh", "-c", f'ENVPARITY_CACHE_DIR="$PWD/again{number}" exec "$@"', "sh"]
        said = subprocess.run([*again, *lock], cwd=folder, check=True, capture_output=True).stderr.decode()
        answers = "captured" if "(captured)" in said else "of the base"
        rows += [
            (f"`envparity lock`, nothing cached, Python {answers}", [*anew, *lock]),
            ("that of one distribution: the base, and the start", [*anew, *of_one]),
            (f"`envparity lock`, again, Python {answers}", [*again, *lock]),
            (f"`envparity lock --prove`, nothing cached, Python {answers}", [*anew, *lock, "--prove"]),
        ]
        rows[-3] = (f"{rows[-3][0]} ({answers})", rows[-3][1])
    in_turn("A lock of 232 distributions", rows, min(runs, 5), folder)


def many(folder: Path, runs: int) -> None:
    """200 and 2,000 made distributions, locked from a made index on the loopback; the base is that of the archive."""
    envparity = str(BIN / "envparity")
    counts = (200, 2000)
    for count in counts:
        made.distributions(made_venv(folder, f"many{count}"), count)
        take = [envparity, "snapshot", f"venv:many{count}", "-o", f"many{count}.env.json"]
        subprocess.run(take, cwd=folder, check=True, capture_output=True)
    # What the base takes is the same for both: its lists are kept, and the pages of the index are not.
    anew = 'rm -rf anew pylock.* && cp -r base anew && ENVPARITY_CACHE_DIR="$PWD/anew" exec "$@"'
    again = 'ENVPARITY_CACHE_DIR="$PWD/again" exec "$@"'
    with made.index(max(counts)) as root:
        lock = {
            count: [envparity, "lock", f"many{count}.env.json", "--index", root, "-q", "-o", f"pylock.many{count}.toml"]
            for count in counts
        }
        base = {**os.environ, "ENVPARITY_CACHE_DIR": str(folder / "base")}
        subprocess.run(lock[200], cwd=folder, env=base, check=True, capture_output=True)
        for note in (folder / "base/notes").glob("page-*"):
            if b"/simple/" in note.read_bytes():
                note.unlink()
        rows = [
            (f"`envparity lock`, {count:,} distributions{what}", ["sh", "-c", script, "sh", *lock[count]])
            for what, script in ((", no page cached", anew), (", again", again))
            for count in counts
        ]
        table("A lock of many", rows, min(runs, 3), folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--uv", default=shutil.which("uv") or "uv")
    parser.add_argument("--registry", default="127.0.0.1:5000", help="for the group `build`, which needs an engine too")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument(
        "--only", default="start,snapshot,files,images,running,reading,story", help="which groups, by comma"
    )
    arguments = parser.parse_args()
    envparity, python, uv = str(BIN / "envparity"), sys.executable, shutil.which(arguments.uv) or arguments.uv
    uv = str(Path(uv).absolute())
    only = set(arguments.only.split(","))

    with tempfile.TemporaryDirectory(prefix="envparity-bench-") as name:
        folder = Path(name)
        if "snapshot" in only:
            snapshots(folder, uv, arguments.runs)
        if "files" in only:
            verifying(folder, arguments.runs)
        if "images" in only:
            images(folder, arguments.runs)
        if "diff" in only:
            diffs(folder, arguments.runs)
        if "lock" in only:
            locks(folder, uv, arguments.runs)
        if "many" in only:
            many(folder, arguments.runs)
        if "build" in only:
            building.images(folder, uv, envparity, arguments.registry)
        if "running" in only:
            running(folder, uv, arguments.runs)
        if not only & {"start", "reading", "story"}:
            return 0
        subprocess.run([uv, "venv", "-q", "-p", python, "target"], cwd=folder, check=True)
        subprocess.run([uv, "pip", "install", "-q", "-p", "target", *LIBRARIES], cwd=folder, check=True)
        installed = json.loads(
            subprocess.run(
                [uv, "pip", "list", "-p", "target", "--format", "json"], cwd=folder, check=True, capture_output=True
            ).stdout
        )
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()};")
        print(f"median of {arguments.runs} runs; {len(installed)} distributions in the environment that is read")

        table(
            "Start",
            [
                ("`python -c pass`", [python, "-I", "-c", "pass"]),
                ("`envparity --help`", [envparity, "--help"]),
                ("`pip --version`", [python, "-I", "-m", "pip", "--version"]),
            ],
            arguments.runs,
            folder,
        )
        table(
            "Reading an environment",
            [
                ("`uv pip freeze` (names and versions)", [uv, "pip", "freeze", "-p", "target"]),
                ("`pip inspect`", [python, "-I", "-m", "pip", "--python", "target", "inspect"]),
                ("`envparity snapshot`", [envparity, "snapshot", "venv:target", "-o", "target.env.json"]),
                ("`envparity diff` with itself", [envparity, "diff", "target.env.json", "target.env.json"]),
            ],
            arguments.runs,
            folder,
        )
        if sys.platform == "linux" and "story" in only:
            image = ["build", "pylock.toml", "--output", "oci:image", "-t", "bench:1"]
            cold = {**os.environ, "ENVPARITY_CACHE_DIR": str(folder / "cache")}
            print("\nFrom nothing (one run, empty cache)\n\n| what | s |\n| --- | ---: |")
            for title, argv in (
                ("`envparity lock`", [envparity, "lock", "target.env.json", "-o", "pylock.toml"]),
                ("`envparity build`", [envparity, *image]),
                ("`envparity build`, again", [envparity, *image]),
                ("`envparity verify`", [envparity, "verify", "oci:image", "--against", "target.env.json"]),
            ):
                began = time.perf_counter()
                done = subprocess.run(argv, cwd=folder, env=cold, capture_output=True, check=False)
                said = f"{time.perf_counter() - began:.1f}" if done.returncode == 0 else f"ended with {done.returncode}"
                print(f"| {title} | {said} |", flush=True)
                if done.returncode:
                    print(done.stderr.decode(), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
