"""The text of a Dockerfile for each kind of lock, and the byte code that its folder makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from envparity.cache import Cache
from envparity.image import bytecode, configuration, serving
from envparity.image.bytecode import Bytecode, Unit
from envparity.image.contents import Supplies
from envparity.image.dockerfile import Asked, documents, is_text
from envparity.image.plan import plan
from envparity.oci.entries import Entry, content_sha256
from envparity.resources import templates
from envparity.values import BaseLayer, LeftOut, Lock, LockedImage, LockedModel, Options
from tests.image.test_plan import distribution
from tests.tools import needs_tool
from tests.values import OTHER_SHA256, SOME_SHA256, a_conda_lock, a_lock
from tests.wheels import pack

MODEL = LockedModel(name="my model.joblib", size_bytes=9, sha256=OTHER_SHA256)


def texts(lock: Lock, folder: Path, options: Options, *, vendor: bool = True) -> dict[str, str]:
    """What is written of a lock, whose wheels are empty ones."""
    contents = {"demo/__init__.py": b"", "demo/tests/test_demo.py": b"x = 1\n"}
    wheel = pack(folder, contents, file_name="demo-1.0-py3-none-any.whl")
    target = lock.targets[0]
    at_hand = {item.wheel.sha256: wheel for item in lock.distributions}
    supplies = Supplies(lock, target, b"", at_hand, strip=options.strip)
    said = configuration.runtime(lock, target, options, "0" * 64)
    asked = Asked(vendor=vendor, lock_name="pylock.toml", requirements="demo==1.0\n", runtime=said)
    return documents(plan(lock, target, options, "0" * 64), supplies, asked)


def on_image(base: str, *left_out: LeftOut) -> Lock:
    lock = a_lock(distributions=(distribution("demo"),), bytecode="unchecked-hash")
    layer = BaseLayer(diff_id=f"sha256:{SOME_SHA256}", digest=f"sha256:{OTHER_SHA256}", size_bytes=7, media_type="x")
    image = LockedImage(digest=f"sha256:{SOME_SHA256}", layers=(layer,), glibc="2.36")
    target = msgspec.structs.replace(lock.targets[0], base=base, image=image, left_out=left_out)
    return msgspec.structs.replace(lock, targets=(target,))


def kinds() -> dict[str, tuple[Lock, Options, bool]]:
    """A lock of each kind with what was asked for, and whether it is vendored."""
    demo = (distribution("demo"),)
    plain, compiled = a_lock(distributions=demo), a_lock(distributions=demo, bytecode="unchecked-hash")
    conda = msgspec.structs.replace(
        compiled, targets=(msgspec.structs.replace(a_conda_lock().targets[0], interpreter=_of_conda()),)
    )
    moved = LeftOut(kind="variable", name="OMP_NUM_THREADS", version="7", reason="another value")
    whole = Options(models=(MODEL,), app="0" * 64, ports=(8080,))
    served = serving.with_server(Options(models=(MODEL,)), "fastapi")
    return {
        "plain": (plain, Options(), True),
        "compiled": (compiled, whole, True),
        "private": (compiled, whole, False),
        "stripped": (compiled, msgspec.structs.replace(whole, strip=("tests",)), True),
        "stripped beside conda": (conda, Options(strip=("tests",)), True),
        "only an application": (a_lock(distributions=(), bytecode="unchecked-hash"), whole, True),
        "nothing": (a_lock(distributions=(), bytecode="unchecked-hash"), Options(), True),
        "conda": (conda, whole, True),
        "served": (compiled, served, True),
        "image": (on_image(f"registry:registry.example/base:1@sha256:{SOME_SHA256}"), whole, True),
        "folder": (on_image(f"oci:base@sha256:{SOME_SHA256}"), whole, True),
        "bare": (on_image(f"registry:registry.example/base:1@sha256:{SOME_SHA256}", moved), served, False),
    }


def _of_conda() -> object:
    interpreter = a_lock().targets[0].interpreter
    return msgspec.structs.replace(interpreter, kind="conda", executable="/opt/env/bin/python3.11", artifact=None)


def stages(text: str) -> dict[str, list[str]]:
    """The instructions of each stage, less what is about its configuration."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n     ", "").splitlines():
        if line.startswith("FROM "):
            found[line] = []
        elif line.split(" ")[0] in {"ADD", "COPY", "RUN"}:
            found[list(found)[-1]].append(line)
    return found


def test_hadolint_has_nothing_to_say_of_any_kind(tmp_path: Path) -> None:
    for name, (lock, options, vendor) in kinds().items():
        (tmp_path / f"{name}.Dockerfile").write_text(texts(lock, tmp_path, options, vendor=vendor)["Dockerfile"])
    said = subprocess.run(
        [needs_tool("hadolint"), "--no-color", *sorted(tmp_path.glob("*.Dockerfile"))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (said.stdout, said.returncode) == ("", 0)


def test_what_a_person_may_change_is_compiled_where_the_image_is_built(tmp_path: Path) -> None:
    """Byte code that came along would run in the place of the module that somebody edits."""
    lock, options, _ = kinds()["compiled"]
    found = stages(texts(lock, tmp_path, options)["Dockerfile"])

    python = '["/opt/env/bin/python", "-B", "bytecode/compile.py", '
    assert found["FROM base AS compiler"] == ["COPY bytecode/ bytecode/"]
    assert found["FROM compiler AS distributions"][-1] == f'RUN {python}"/opt/env/lib/python3.11"]'
    assert found["FROM compiler AS application"] == ["COPY app/ /opt/app/", f'RUN {python}"/opt/app"]']
    assert found["FROM base"] == [
        "COPY --from=distributions /opt/env/ /opt/env/",
        "COPY models/ /opt/model/",
        "COPY --from=application /opt/app/ /opt/app/",
        "COPY papers/ /usr/share/envparity/",
    ]


def test_the_server_is_compiled_there_too(tmp_path: Path) -> None:
    """`verify` expects its byte code beside it, as in every image of the lock."""
    lock, options, _ = kinds()["served"]
    found = stages(texts(lock, tmp_path, options)["Dockerfile"])

    assert found["FROM compiler AS application"][-2] == "COPY server/ /opt/serve/"
    assert found["FROM compiler AS application"][-1].endswith('"/opt/serve"]')
    assert "COPY --from=application /opt/serve/ /opt/serve/" in found["FROM base"]


def test_a_lock_without_byte_code_has_nothing_that_makes_any(tmp_path: Path) -> None:
    lock, options, _ = kinds()["plain"]
    written = texts(lock, tmp_path, options)

    assert "compile.py" not in written["Dockerfile"]
    assert "bytecode" not in written[".dockerignore"]


def test_beside_conda_s_packages_only_what_pip_wrote_is_taken_and_compiled(tmp_path: Path) -> None:
    lock, options, _ = kinds()["conda"]
    found = stages(texts(lock, tmp_path, options)["Dockerfile"])

    install, compiling = found["FROM compiler AS distributions"][-2:]
    assert '"--root", "/installed", "--ignore-installed"' in install
    assert '"--root", "/installed", "/opt/env/lib/python3.11"' in compiling
    assert found["FROM base"][0] == "COPY --from=distributions /installed/ /"


def test_what_serves_nobody_is_taken_out_before_anything_is_compiled_and_said_in_the_image(tmp_path: Path) -> None:
    """In a stage of its own, since what a layer removes of another is in the image all the same."""
    lock, options, _ = kinds()["stripped"]
    found = stages(texts(lock, tmp_path, options)["Dockerfile"])

    *_, copy, strip, compiling = found["FROM compiler AS distributions"]
    assert copy == "COPY stripped/ stripped/"
    assert strip == ('RUN ["/opt/env/bin/python", "-B", "stripped/strip.py", "/opt/env/lib/python3.11/site-packages"]')
    assert "compile.py" in compiling
    assert (
        "COPY --from=distributions /usr/share/envparity/stripped/ /usr/share/envparity/stripped/" in found["FROM base"]
    )


def test_a_login_is_a_secret_of_the_one_step_that_asks_the_index(tmp_path: Path) -> None:
    lock, options, vendor = kinds()["private"]
    text = texts(lock, tmp_path, options, vendor=vendor)["Dockerfile"]

    assert [line for line in text.splitlines() if "netrc" in line.lower() and not line.startswith("#")] == [
        "ENV NETRC=/run/secrets/netrc",
        'RUN --mount=type=secret,id=netrc ["/opt/env/bin/python", "-B", "pip/pip-26.3-py3-none-any.whl/pip",'
        ' "install", \\',
    ]
    assert "secret" not in texts(lock, tmp_path, options)["Dockerfile"]


def test_the_health_check_is_that_of_build(tmp_path: Path) -> None:
    lock, options, _ = kinds()["served"]
    lines = texts(lock, tmp_path, options)["Dockerfile"].splitlines()

    assert (
        "HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3"
        ' CMD ["/opt/env/bin/python", "/opt/serve/health.py"]' in lines
    )
    assert "EXPOSE 8080/tcp" in lines
    own = texts(lock, tmp_path, Options(health=("python", "-c", "print('$HOME')")))["Dockerfile"]
    assert """ CMD ["python", "-c", "print('$HOME')"]\n""" in own
    assert "#     --health " in own


def test_a_base_that_no_builder_finds_comes_along_and_sets_nothing(tmp_path: Path) -> None:
    """Nothing of its configuration is inherited, so nothing of it has to be taken away."""
    moved = LeftOut(kind="variable", name="OMP_NUM_THREADS", version="7", reason="another value")
    text = texts(on_image(f"oci:@sha256:{SOME_SHA256}", moved), tmp_path, Options())["Dockerfile"]
    found = stages(text)

    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 120
    assert found["FROM scratch AS base"] == ["ADD base.tar.gz /", "ADD packages.tar.gz /", "ADD python.tar.gz /"]
    assert "FROM base" in found


def test_every_part_that_is_copied_goes_to_the_builder_and_nothing_else_does(tmp_path: Path) -> None:
    for lock, options, vendor in kinds().values():
        written = texts(lock, tmp_path, options, vendor=vendor)
        taken = {
            line.split(" ")[1].rstrip("/").partition("/")[0]
            for lines in stages(written["Dockerfile"]).values()
            for line in lines
            if line.startswith(("ADD ", "COPY ")) and "--from" not in line
        }

        assert written[".dockerignore"].splitlines()[1] == "*"
        assert {line[1:] for line in written[".dockerignore"].splitlines()[2:]} == taken


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("Dockerfile", True),
        ("app/models/x.py", True),
        ("bytecode/compile.py", True),
        ("app/data.tar.gz", True),
        ("base.tar.gz", False),
        ("models/m/config.json", False),
        ("wheels/a.whl", False),
    ],
)
def test_what_a_person_may_change_is_looked_at_before_it_is_written_anew(path: str, may: bool) -> None:
    """A model may have 40 GB, and is never read for that."""
    assert is_text(path) is may


def test_the_folder_s_byte_code_is_that_of_build(tmp_path: Path) -> None:
    """In an image of a Dockerfile, `verify` holds each file against what `build` would have put there."""
    version = sys.version.split()[0]
    site = f"opt/env/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    sources = {
        f"{site}/demo/__init__.py": b'class A:\n    def f(self):\n        return "A.f", self in {"b", "a"}\n',
        f"{site}/demo/broken.py": b"print 'old'\n",
        f"{site}/demo/warns.py": b'x = "\\d" is 1\n',
        f"{site}/one.py": b'"""A text."""\n',
        "opt/app/serve.py": b"import demo\n",
        "opt/elsewhere/other.py": b"",
    }
    wanted = Bytecode(Cache(tmp_path / "cache"), version).added(
        [Unit([Entry(path, "file", 0o644, size_bytes=len(data), content=data) for path, data in sources.items()])]
    )[0]
    root, place = tmp_path / "root", tmp_path / "bytecode"
    for path, data in sources.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / site / "demo" / "__pycache__").mkdir()
    (root / site / "demo" / "__pycache__" / "of-a-wheel.pyc").write_bytes(b"what another Python made")
    (root / site / "linked.py").symlink_to("one.py")
    place.mkdir()
    shutil.copy(str(templates() / "dockerfile" / "compile.py"), place)
    (place / "compiling.py").write_text(bytecode.program())
    command = [sys.executable, "-B", place / "compile.py", "--root", root, f"/{site}", "/opt/app"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)

    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    made = {entry.path: content_sha256(entry) for entry in wanted if entry.path.endswith(".pyc")}
    assert found - sources.keys() == made.keys()
    assert len(made) == 4
    for path, sha256 in made.items():
        data = (root / path).read_bytes()
        assert content_sha256(Entry(path, "file", 0o644, size_bytes=len(data), content=data)) == sha256
    assert done.stdout == f"left as it is: /{site}/demo/broken.py (SyntaxError)\nlooked at 5 modules\n"
    assert done.stderr == ""


def stripped(folder: Path, *sheets: str) -> str:
    """What the folder's program says when it takes the files of some sheets out of a site-packages."""
    place = folder / "stripped"
    place.mkdir()
    shutil.copy(str(templates() / "dockerfile" / "strip.py"), place)
    for sheet in sheets:
        name, _, rows = sheet.partition(":")
        (place / name).write_text(rows)
    command = [sys.executable, "-B", place / "strip.py", "--root", folder / "root", "/site"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_what_is_taken_out_leaves_no_row_no_byte_code_and_no_empty_folder(tmp_path: Path) -> None:
    """Of a version that a person moved to, nothing is known; and what another distribution lists is that one's too."""
    site = tmp_path / "root" / "site"
    held = {
        "demo/__init__.py": "",
        "demo/tests/deep/test_it.py": "x = 1\n",
        "demo/tests/deep/__pycache__/test_it.cpython-311.pyc": "of the wheel",
        "tests/__init__.py": "",
        "demo-1.0.dist-info/RECORD": '"demo/tests/deep/test_it.py",sha256=a,6\ntests/__init__.py,,0\n'
        "demo/__init__.py,,0\n../share/man/demo.1,,5\n",
        "other-2.0.dist-info/RECORD": "tests/__init__.py,,0\n",
        "../share/man/demo.1": ".TH D",
    }
    for path, text in held.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    sheet = "demo/tests/deep/test_it.py,sha256=a,6\ntests/__init__.py,,0\n../share/man/demo.1,,5\n"
    said = stripped(tmp_path, f"demo-1.0.csv:{sheet}", "other-1.0.csv:other/tests/test_it.py,,0\n")

    assert said == "left as it is, since it is not installed: other-1.0\nleft out 2 files, 0.0 MB\n"
    assert (site / "demo-1.0.dist-info" / "RECORD").read_text() == "demo/__init__.py,,0\n"
    assert sorted(path.relative_to(tmp_path / "root").as_posix() for path in (tmp_path / "root").rglob("*")) == [
        *("site", "site/demo", "site/demo-1.0.dist-info", "site/demo-1.0.dist-info/RECORD", "site/demo/__init__.py"),
        *("site/other-2.0.dist-info", "site/other-2.0.dist-info/RECORD", "site/tests", "site/tests/__init__.py"),
        *("usr", "usr/share", "usr/share/envparity", "usr/share/envparity/stripped"),
        "usr/share/envparity/stripped/demo-1.0.csv",
    ]
