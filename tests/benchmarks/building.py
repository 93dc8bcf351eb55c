"""
Images of a lock in a registry on the loopback, beside BuildKit with `uv pip install` and a push: the same wheels, which
both have at hand. It needs an engine and its client, and a registry that may be written to (its address is given).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

WANTED = ("scikit-learn", "pandas", "pyarrow", "lightgbm", "matplotlib", "fastapi", "idna==3.10", "joblib")
CHANGED = "idna==3.11"
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
MODEL = """
import sys, joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
for number in range(int(sys.argv[1])):
    fitted = LogisticRegression(C=1 + number, max_iter=500).fit(*load_iris(return_X_y=True))
    joblib.dump(fitted, f"model{number}.joblib")
"""
DOCKERFILE = """
FROM {base}
USER 0
ENV BENCH={word}
COPY uv /usr/local/bin/uv
COPY requirements.txt /requirements.txt
RUN --mount=type=bind,source=wheels,target=/wheels uv venv -q -p /usr/bin/python3 --no-python-downloads /served \
    && uv pip install -q -p /served/bin/python --no-index --find-links /wheels --no-deps -r /requirements.txt {compiled}
COPY model.joblib /model.joblib
"""


def client() -> str:
    """A client that has BuildKit: it is a part of some, and of others a plugin, which may be missing."""
    for folder in os.environ["PATH"].split(os.pathsep):
        program = Path(folder) / "docker"
        asked = [str(program), "build", "--progress", "plain", "--help"]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        if program.is_file() and subprocess.run(asked, env=environment, capture_output=True).returncode == 0:
            return str(program)
    sys.exit("no client of Docker here has BuildKit")


class Pushed:
    """What a registry was sent: the bytes of all blobs that the images there name and did not name before."""

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.seen: dict[str, int] = {}

    def more(self, name: str) -> int:
        request = urllib.request.Request(f"http://{self.registry}/v2/{name}/manifests/1", headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request) as answer:
            manifest = json.load(answer)
        new = {item["digest"]: item["size"] for item in (manifest["config"], *manifest["layers"])}
        new = {digest: size for digest, size in new.items() if digest not in self.seen}
        self.seen |= new
        return sum(new.values())


class Bench:
    def __init__(self, folder: Path, uv: str, envparity: str, registry: str) -> None:
        self.folder, self.uv, self.envparity, self.registry = folder, uv, envparity, registry
        self.docker = client()
        self.word = f"bench-{os.getpid()}"
        self.pushed = Pushed(registry)
        self.has_base = False

    def run(self, *argv: str, **environment: str) -> float:
        began = time.perf_counter()
        done = subprocess.run(
            argv, cwd=self.folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True
        )
        if done.returncode:
            sys.exit(f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
        return time.perf_counter() - began

    def build(self, lock: str, name: str, model: int | None = 0, cache: str = "cache") -> float:
        output = f"registry:{self.registry}/{self.word}/{name}:1"
        models = [] if model is None else ["--model", f"model{model}.joblib"]
        argv = [self.envparity, "build", lock, *models, "--output", output, "-q", "--attach", "none"]
        return self.run(*argv, ENVPARITY_CACHE_DIR=str(self.folder / cache))

    def prepare(self, models: int) -> None:
        """
        The environment, its models, and its locks; those of an environment on the same base that has nearly nothing; a
        cache with what all of them name.
        """
        self.run(self.uv, "venv", "-q", "-p", "/usr/bin/python3", "trained")
        self.run(self.uv, "pip", "install", "-q", "-p", "trained", *WANTED)
        (self.folder / "train.py").write_text(MODEL)
        self.run("trained/bin/python", "train.py", str(models))
        take = [self.envparity, "snapshot", "venv:trained", "-o", "trained.env.json"]
        self.run(*take)
        self.run(self.uv, "venv", "-q", "-p", "/usr/bin/python3", "bare")
        self.run(self.uv, "pip", "install", "-q", "-p", "bare", "six")
        self.run(self.envparity, "snapshot", "venv:bare", "-o", "bare.env.json")
        cache = {"ENVPARITY_CACHE_DIR": str(self.folder / "cache")}
        for kind in KINDS:
            lock = [self.envparity, "lock", "trained.env.json", "-q", "--bytecode", kind]
            self.run(*lock, "-o", f"pylock.{kind}.toml", **cache)
            self.run(*lock, "--update", CHANGED, "-o", f"pylock.{kind}-changed.toml", **cache)
            bare = [self.envparity, "lock", "bare.env.json", "-q", "--bytecode", kind]
            self.run(*bare, "-o", f"pylock.{kind}-bare.toml", **cache)
        # Everything is fetched by a first build, whose layers then go with its notes.
        for kind in KINDS:
            self.build(f"pylock.{kind}.toml", "fetched")
            self.build(f"pylock.{kind}-changed.toml", "fetched")
            self.build(f"pylock.{kind}-bare.toml", "fetched", None)

    def cold(self, cache: str) -> None:
        """A cache that holds what locks name (wheels, packages of the base), and nothing that was made of it."""
        named = "".join((self.folder / f"pylock.{kind}{end}.toml").read_text() for kind in KINDS for end in ENDS)
        whole, fresh = self.folder / "cache", self.folder / cache
        shutil.rmtree(fresh, ignore_errors=True)
        for place in (whole / "blobs" / "sha256").glob("*/*"):
            if place.name in named:
                target = fresh / place.relative_to(whole)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(place, target)
        fresh.chmod(0o700)
        shutil.copy(whole / "CACHEDIR.TAG", fresh)

    def peer(self, kind: str) -> tuple[float, float, float]:
        """BuildKit, anew; with one pin changed; and again with nothing changed; each with its push."""
        context = self.folder / f"context-{kind}"
        context.mkdir()
        shutil.copy(self.uv, context / "uv")
        shutil.copy(self.folder / "model0.joblib", context / "model.joblib")
        (context / "wheels").mkdir()
        compiled = "--compile-bytecode" if kind != "none" else ""
        tag = f"{self.registry}/{self.word}/peer-{kind}:1"
        # With a variable of this run's own, nothing that an earlier run did is in the engine's cache.
        text = DOCKERFILE.format(base=self.base(), compiled=compiled, word=self.word)
        (context / "Dockerfile").write_text(text)
        blobs = self.folder / "cache" / "blobs" / "sha256"
        taken = []
        for end in ("", "-changed", "-changed"):
            export = [self.envparity, "export", f"pylock.{kind}{end}.toml", "--format", "requirements"]
            pinned = subprocess.run(export, cwd=self.folder, capture_output=True, check=True).stdout
            (context / "requirements.txt").write_bytes(pinned)
            text = (self.folder / f"pylock.{kind}{end}.toml").read_text()
            for name, sha256 in wheels(text):
                if not (context / "wheels" / name).exists():
                    os.link(blobs / sha256[:2] / sha256, context / "wheels" / name)
            building = self.run(self.docker, "build", "-q", "-t", tag, str(context), DOCKER_BUILDKIT="1")
            taken.append(building + self.run(self.docker, "push", "-q", tag))
        # By its number: pushing gave it a second name, by digest.
        listed = [self.docker, "image", "ls", "-q", "--no-trunc", tag.rpartition(":")[0]]
        made = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        self.run(self.docker, "image", "rm", "-f", *dict.fromkeys(made))
        return taken[0], taken[1], taken[2]

    def known_base(self, kind: str, cache: str) -> None:
        """The same, and the base: another image was built on it, of which the registry has nothing."""
        self.cold(cache)
        built = [
            self.envparity,
            "build",
            f"pylock.{kind}-bare.toml",
            "--output",
            f"oci:bare-{kind}",
            "-t",
            "bare:1",
            "-q",
        ]
        self.run(*built, ENVPARITY_CACHE_DIR=str(self.folder / cache))

    def base(self) -> str:
        """The base of our own image, in the engine: neither side fetches one."""
        name = f"{self.word}-base:1"
        if not self.has_base:
            self.run(self.envparity, "build", "pylock.none-bare.toml", "-q", "--output", f"docker:{name}")
            self.has_base = True
        return name


KINDS, ENDS = ("none", "unchecked-hash"), ("", "-changed", "-bare")


def wheels(lock: str) -> list[tuple[str, str]]:
    import tomllib

    packages = tomllib.loads(lock)["packages"]
    return [(item["name"], item["hashes"]["sha256"]) for package in packages for item in package["wheels"]]


def images(folder: Path, uv: str, envparity: str, registry: str, team: int = 20) -> None:
    """The table of an image's builds, and what twenty images of one team are in a registry."""
    bench = Bench(folder, uv, envparity, registry)
    bench.prepare(team)
    rows: list[tuple[str, float, float | None, int]] = []
    for kind in KINDS:
        peer = bench.peer(kind)
        lock, changed = f"pylock.{kind}.toml", f"pylock.{kind}-changed.toml"
        name, first = f"image-{kind}", f"first-{kind}"
        bench.cold(kind)
        bench.known_base(kind, first)
        for title, argv, beside in (
            ("nothing but wheels and packages cached", (lock, name, 0, kind), peer[0]),
            ("the base cached too, as BuildKit has it", (lock, first, 0, first), peer[0]),
            ("the layers of another image cached", (lock, f"{name}-other", 1, kind), None),
            ("one pin changed", (changed, name, 0, kind), peer[1]),
            ("nothing changed", (changed, name, 0, kind), peer[2]),
        ):
            taken = bench.build(*argv)
            pushed = Pushed(registry) if argv[1] == first else bench.pushed
            rows.append((f"{title}, byte code: {kind}", taken, beside, pushed.more(f"{bench.word}/{argv[1]}")))
    count = len(wheels((folder / "pylock.none.toml").read_text()))
    print(f"\n{count} wheels to a registry, beside BuildKit with `uv pip install` and `docker push`\n")
    print("| what | s | peer, s | ratio | MB pushed |\n| --- | ---: | ---: | ---: | ---: |")
    for title, taken, beside, size in rows:
        ratio = f"{beside:.1f} | {beside / taken:.1f}" if beside else " | "
        print(f"| {title} | {taken:.2f} | {ratio} | {size / 1e6:.1f} |", flush=True)
    alone = Pushed(registry)
    bench.build("pylock.none.toml", "member0", 0)
    whole = alone.more(f"{bench.word}/member0")
    for number in range(1, team):
        end = "-changed" if number % 3 == 0 else ""
        bench.build(f"pylock.none{end}.toml", f"member{number}", number)
        alone.more(f"{bench.word}/member{number}")
    print(f"\n{team} images of one team: {sum(alone.seen.values()) / whole:.3f} times the bytes of one", flush=True)
    if bench.has_base:
        bench.run(bench.docker, "image", "rm", "-f", bench.base())
