"""
One true story, from a model that silently answers differently to an image that does not.

    python quickstart.py [--folder DIR] [--python PYTHON] [--uv PROGRAM]

Needs `envparity` installed beside the Python that runs this file, and uv. Every command is shown as it is run, with
what it really printed; its exit status is compared with the one that the story expects, and another one ends the story.
The transcript (80 columns) goes to standard output and to `transcript.txt` in the folder, progress to standard error.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

EXAMPLE = Path(__file__).resolve().parent
COLUMNS = 80
MARKER = ".envparity-quickstart"  # a folder is only ever deleted where it carries this file


@dataclass(frozen=True)
class Story:
    """What a model was trained with, and what production has."""

    model: str
    training: tuple[str, ...]
    production: tuple[str, ...]


# scikit-learn 1.4.2 has no wheels for Python 3.13, 1.5.2 has. Both changes are silent.
_TFIDF = Story(
    "logistic",
    ("scikit-learn==1.4.2", "numpy==1.26.4", "joblib==1.4.2"),
    ("scikit-learn==1.5.2", "numpy==1.26.4", "joblib==1.4.2"),
)
_ADABOOST = Story(
    "boosting",
    ("scikit-learn==1.5.2", "numpy==2.1.3", "joblib==1.4.2"),
    ("scikit-learn==1.6.1", "numpy==2.1.3", "joblib==1.4.2"),
)
STORIES = {(3, 11): _TFIDF, (3, 12): _TFIDF, (3, 13): _ADABOOST}


class StoryEnded(Exception):
    """The story cannot go on; the message says why, the status is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Teller:
    """Runs commands in the story's folder and writes down what happened."""

    def __init__(self, folder: Path, path: str, progress: Console) -> None:
        self.folder = folder
        self.progress = progress
        self.transcript = (folder / "transcript.txt").open("w", encoding="utf-8")
        self.started = time.monotonic()
        self.step = ""
        self.printed = ""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PATH": path,
            "COLUMNS": str(COLUMNS),
            "NO_COLOR": "1",
        }
        # The story names its environments; one that happens to be active is not part of it.
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "FORCE_COLOR"):
            self.environment.pop(name, None)

    def say(self, text: str = "") -> None:
        print(text, flush=True)
        self.transcript.write(text + "\n")
        self.transcript.flush()

    def heading(self, number: int, title: str) -> None:
        self.step = f"{number}/7"
        self.say()
        self.say(f"# {number}. {title}")

    def tell(self, text: str) -> None:
        for line in textwrap.wrap(text, COLUMNS - 2):
            self.say(f"# {line}")

    def run(
        self,
        command: str,
        *,
        expected: tuple[int, ...] = (0,),
        saying: str = "",
        into: str = "",
        shown: bool = True,
    ) -> int:
        """
        Show a command, run it, show what it printed, and return its exit status.

        Args:
            expected: the exit statuses with which the story goes on.
            saying: what its output has to hold, where a status alone could have another reason.
            into: the file of the story's folder that gets its standard output.
        """
        whole = f"{command} > {into}" if into else command
        if shown:
            self.say(folded(f"$ {whole}"))
        began = time.monotonic()
        with (
            self.progress.status(f"[{self.step}] {shortened(whole)}"),
            tempfile.TemporaryFile() as output,
        ):
            # Standard output and standard error in the order in which they came, unless one goes to a file.
            try:
                done = subprocess.run(
                    shlex.split(command),
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if into else output,
                    stderr=output,
                    check=False,
                )
            except OSError as error:
                raise StoryEnded(f"cannot start `{shortened(whole)}`: {error.strerror}", 3) from error
            output.seek(0)
            printed = self.printed = output.read().decode("utf-8", errors="replace")
        if into:
            (self.folder / into).write_bytes(done.stdout)
        if shown or done.returncode not in expected:
            for line in printed.splitlines():
                self.say(folded(line))
            if done.returncode:
                self.say("$ echo $?")
                self.say(str(done.returncode))
        self.progress.print(f"[{self.step}] {shortened(whole)}  ({time.monotonic() - began:.1f} s)", highlight=False)
        if done.returncode not in expected:
            wanted = " or ".join(str(status) for status in expected)
            raise StoryEnded(f"`{shortened(whole)}` ended with {done.returncode}, and {wanted} was expected")
        if saying not in printed.lower():
            raise StoryEnded(f"`{shortened(whole)}` was expected to say `{saying}`")
        return done.returncode


def folded(line: str) -> str:
    """A line of at most 80 columns, or several: broken between words, and a command between its options."""
    if len(line) <= COLUMNS:
        return line
    if line.startswith("$ "):
        whole = re.sub(r"( --?[\w-]+) (?=[^-])", "\\1\N{NO-BREAK SPACE}", line)
        pieces = textwrap.wrap(whole, COLUMNS - 2, subsequent_indent="    ", break_on_hyphens=False)
        return " \\\n".join(pieces).replace("\N{NO-BREAK SPACE}", " ")
    indent = line[: len(line) - len(line.lstrip())]
    return "\n".join(textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False))


def shortened(line: str) -> str:
    return line if len(line) <= COLUMNS - 20 else f"{line[: COLUMNS - 23]}..."


def examined(python: str) -> tuple[str, tuple[int, int]] | None:
    """The path and the version of an interpreter that the story can use; nothing where it cannot, or does not start."""
    question = "import sys; print(*sys.version_info[:2], sys.executable)"
    try:
        # A shim of pyenv is there under every name, and fails for the versions that are not switched on.
        answer = subprocess.run([python, "-I", "-c", question], capture_output=True, text=True, check=False)
    except OSError:
        return None
    words = answer.stdout.strip().split(" ", 2)
    if answer.returncode != 0 or len(words) != 3:
        return None
    version = (int(words[0]), int(words[1]))
    return (words[2], version) if version in STORIES else None


def choose_python(wanted: str, uv: str) -> tuple[str, tuple[int, int]]:
    """The Python to train with: the one asked for, the one that runs, an older one, or one that uv fetches."""
    here = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    names = [wanted, f"python{wanted}"] if wanted else [str(here), *(f"python3.{n}" for n in (13, 12, 11))]
    for name in names:
        found = shutil.which(name)
        chosen = examined(found) if found else None
        if chosen:
            return chosen
    # uv knows the Pythons that it manages itself, and can fetch one.
    known = [f"{major}.{minor}" for major, minor in sorted(STORIES, reverse=True)]
    for request in [name for name in known if wanted in ("", name)]:
        for how in (["find"], ["install", "--quiet"], ["find"]):
            asked = subprocess.run([uv, "python", *how, request], capture_output=True, text=True, check=False)
            chosen = examined(asked.stdout.strip()) if how == ["find"] and asked.returncode == 0 else None
            if chosen:
                return chosen
    needed = "a Python 3.11, 3.12 or 3.13 (the wheels it uses exist for no other)"
    seen = f"`{wanted}` is none that starts here" if wanted else "none was found"
    raise StoryEnded(f"this story needs {needed}: {seen}, and uv cannot fetch one; name one with --python", 2)


def prepare(folder: Path) -> None:
    """An empty folder with the example in it; one that was not made here is never deleted."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARKER).exists():
            raise StoryEnded(f"`{folder}` holds files that are not this story's; choose another with --folder", 2)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    shutil.copytree(EXAMPLE / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "compare.py"):
        shutil.copy(EXAMPLE / name, folder)


def tell(teller: Teller, python: str, story: Story) -> None:
    teller.heading(1, "Train a model, and keep what it predicts")
    teller.run(f"uv venv -q -p {shlex.quote(python)} training")
    teller.run(f"uv pip install -q -p training {' '.join(story.training)}")
    teller.run(f"training/bin/python train.py --model {story.model}")

    teller.heading(2, "Load it where production runs: no error, and other answers")
    (teller.folder / "prod.txt").write_text("".join(f"{line}\n" for line in story.production), encoding="utf-8")
    teller.run(f"uv venv -q -p {shlex.quote(python)} production", shown=False)
    teller.run("cat prod.txt")
    teller.run("uv pip install -q -p production -r prod.txt")
    teller.run("production/bin/python app/predict.py model.joblib -o production.json")
    teller.run("production/bin/python compare.py training.json production.json", expected=(1,), saying="another label")

    teller.heading(3, "Record what the model was trained in")
    teller.run("envparity snapshot venv:training --model model.joblib -o model.env.json")

    teller.heading(4, "Ask whether production matches, before anyone ships it")
    teller.run("envparity diff model.env.json prod.txt", expected=(1,), saying="critical")
    teller.tell("Exit status 1: a pipeline stops here.")

    if sys.platform != "linux":
        teller.tell("Lock and build make Linux images from a Linux snapshot, which this system cannot take yet.")
        teller.tell("So the story ends here; on Linux it goes on.")
        return

    teller.heading(5, "Lock that environment, build it as an image, prove it")
    teller.run("envparity lock model.env.json --prove -o pylock.toml")
    teller.run("envparity build pylock.toml --model model.joblib --app app --output oci:image -t tickets:1")
    teller.run("envparity verify oci:image --against model.env.json")

    teller.heading(6, "Ask the image for its predictions")
    inside = "envparity run oci:image -- python /opt/app/predict.py /opt/model/model.joblib"
    if teller.run(inside, expected=(0, 3), into="image.json") == 0:
        teller.run("training/bin/python compare.py training.json image.json")
    elif "cannot run an image" not in teller.printed:
        raise StoryEnded("the image could not be asked, and this machine is not the reason: see the message above", 3)
    else:
        teller.tell("This machine does not let envparity start the image, so nothing is claimed about its predictions.")


def end(teller: Teller, folder: Path) -> None:
    teller.heading(7, "Now with a model of your own")
    teller.say("$ envparity snapshot --model MODEL.joblib -o model.env.json")
    teller.say("$ envparity diff model.env.json requirements.txt")
    if sys.platform == "linux":
        teller.say("$ envparity lock model.env.json --prove -o pylock.toml")
    seconds = time.monotonic() - teller.started
    teller.progress.print(f"{seconds:.0f} s; everything is in {folder}", highlight=False, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The story of one model, in seven steps.")
    parser.add_argument("--folder", type=Path, default=EXAMPLE.parent.parent / "quickstart")
    parser.add_argument("--python", default="", help="a path, or a version such as 3.12")
    parser.add_argument("--uv", default=shutil.which("uv") or "", help="the program uv")
    arguments = parser.parse_args()
    progress = Console(stderr=True)

    try:
        if not arguments.uv:
            raise StoryEnded("uv is needed, and is not on PATH; `python3 noxfile.py -s quickstart` brings its own", 2)
        python, version = choose_python(arguments.python, arguments.uv)
        folder = arguments.folder.absolute()
        try:
            prepare(folder)
        except OSError as error:
            raise StoryEnded(f"cannot write to {folder}: {error.strerror}; choose another with --folder", 3) from error
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), str(Path(arguments.uv).absolute().parent), os.environ.get("PATH", "")]
        )
        teller = Teller(folder, path, progress)
        teller.say(f"# envparity in seven steps, with Python {version[0]}.{version[1]}, in {folder.name}/")
        tell(teller, python, STORIES[version])
        end(teller, folder)
    except StoryEnded as ended:
        sys.stdout.flush()
        print(f"error: {ended}", file=sys.stderr)
        return ended.status
    except KeyboardInterrupt:
        print("error: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
