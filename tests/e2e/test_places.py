"""One runtime, read from every place that it lies in: what is known of it must not depend on where we looked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from envparity import codec, snapshot
from envparity.errors import TimeLimitError, UnreachableError, UsageError
from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage
from envparity.oci.pack import BuiltLayer
from envparity.oci.places import write_image
from envparity.sources import Options, read
from envparity.values import Environment, GapKind
from tests.commands import envparity
from tests.e2e import small_image
from tests.oci.made import built, file, layer
from tests.sources.test_live import script
from tests.tools import needs_tool

PROGRAM = os.path.realpath(sys.executable)


@dataclass(frozen=True)
class World:
    """A folder with the image in it, the engine and the registry that have it too, and how to read from there."""

    folder: Path
    engine: str
    registry: str
    own: str
    """What ends the name of each image, so that another run beside this one has others."""
    python: BuiltLayer
    """The interpreter, which all images have: packed once, and unpacked once by the engine."""

    @property
    def small(self) -> str:
        """The image that every place has, as the engine calls it."""
        return f"small:{self.own}"

    @property
    def there(self) -> str:
        """The same, as the registry calls it."""
        return f"{self.registry}/envparity/small:{self.own}"

    @property
    def options(self) -> Options:
        environ = {
            "DOCKER_HOST": self.engine,
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "ENVPARITY_CACHE_DIR": str(self.folder / "cache"),
        }
        return Options(environ=environ, base_dir=self.folder)

    def docker(self, *arguments: str | Path) -> str:
        command = [needs_tool("docker"), "-H", self.engine, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def load(self, image: BuiltImage, name: str) -> None:
        """Give an image to the engine."""
        archive = self.folder / f"{uuid.uuid4().hex}.tar"
        write_image(f"docker-archive:{archive}", image, f"{name}:{self.own}")
        self.docker("load", "-q", "-i", archive)
        archive.unlink()

    @contextmanager
    def started(self, image: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
        """A container of an image that runs until the block ends."""
        name = f"envparity-{uuid.uuid4().hex[:12]}"
        self.docker("run", "-d", "--network", "none", "--name", name, *options, image, *command)
        try:
            yield name
        finally:
            subprocess.run(
                [needs_tool("docker"), "-H", self.engine, "rm", "-f", name], capture_output=True, check=False
            )


@pytest.fixture(scope="module")
def world(engine: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("places")
    python = layer(folder / "python.blob", *small_image.interpreter()[:-1])
    found = World(folder, engine, registry, uuid.uuid4().hex[:12], python)
    image = small_image.with_python(folder / "blobs", found.python)
    write_image(f"oci:{folder}/image:1", image)
    write_image(f"docker-archive:{folder}/image.tar", image, found.small)
    found.docker("load", "-q", "-i", folder / "image.tar")
    push = [needs_tool("skopeo"), "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
    subprocess.run([*push, f"oci:{folder}/image:1", f"docker://{found.there}"], check=True)
    yield found
    for name in found.docker("images", "-q", "--filter", f"reference=*:{found.own}").split():
        found.docker("image", "rm", "-f", name)


def facts(environment: Environment) -> tuple[object, object]:
    """What the law is about."""
    return codec.content(environment).distributions, environment.os_packages


def test_a_container_and_its_image_in_every_place_have_the_same_distributions_and_packages(world: World) -> None:
    references = [
        "oci:image:1",
        "docker-archive:image.tar",
        f"docker:{world.small}",
        f"registry:{world.there}",
    ]
    images = [read(reference, options=world.options) for reference in references]
    with world.started(world.small) as name:
        alive = read(f"container:{name}", options=world.options)

    assert {item.name: item.version for item in alive.distributions or ()} == {"six": "1.16.0", "numpy-like": "1.26.4"}
    assert [item.name for item in alive.os_packages or ()] == ["libc6", "zlib1g"]
    for image in images:
        assert facts(image) == facts(alive), image.origin
        assert image.settings == alive.settings
        assert image.python is not None
        assert alive.python is not None
        assert image.python.version == alive.python.version
    assert all(gap.kind is GapKind.NOT_RECORDED for environment in (*images, alive) for gap in environment.gaps)
    assert alive.origin.kind == "live"
    assert "not atomically" in " ".join(gap.reason for gap in alive.gaps)
    assert all(b"hunter2" not in codec.dump_environment(environment) for environment in (*images, alive))


def test_an_image_of_the_engine_is_saved_once_and_then_known(world: World) -> None:
    """`docker save` takes 20 s for a gigabyte; what it held is read from the cache from then on."""
    first = read(f"docker:{world.small}", options=world.options)
    kept = [world.folder / "cache" / part for part in ("blobs", "notes")]
    before = {path for part in kept for path in part.rglob("*") if path.is_file()}

    again = read(f"docker:{world.small}", options=world.options)

    assert (facts(again), again.gaps, again.python) == (facts(first), first.gaps, first.python)
    assert {path for part in kept for path in part.rglob("*") if path.is_file()} == before


def test_without_a_cache_it_is_read_all_the_same(world: World) -> None:
    environ = {key: value for key, value in world.options.environ.items() if key == "DOCKER_HOST"}
    image = snapshot.of(
        f"docker:{world.small}", options=Options(environ={**environ, "ENVPARITY_CACHE_DIR": "/proc/no/such"})
    )

    assert [item.name for item in image.os_packages or ()] == ["libc6", "zlib1g"]


def test_a_container_is_asked_with_the_python_that_it_was_started_with(world: World) -> None:
    """An entry point names its Python by path; the one on PATH is another, or none."""
    upper = small_image.distribution("six", "1.17.0")
    layers = (world.python, (small_image.RELEASE,), upper)
    world.load(built(world.folder / "by-path", *layers, config={"Cmd": [PROGRAM, "-c", small_image.SLEEPING]}), "path")

    with world.started(f"path:{world.own}") as name:
        environment = read(f"container:{name}", options=world.options)

    assert {item.name: item.version for item in environment.distributions or ()} == {"six": "1.17.0"}


def test_variables_that_a_container_was_started_with_are_those_that_count(world: World) -> None:
    with world.started(world.small, options=("-e", "OMP_NUM_THREADS=8")) as name:
        environment = read(f"container:{name}", options=world.options)

    assert environment.settings is not None
    assert {item.name: item.value for item in environment.settings.variables} == {"OMP_NUM_THREADS": "8"}


COMPANY = b"the authority of a company"


@pytest.fixture(scope="module")
def trusting(world: World) -> str:
    """An image in which a company's authority lies, as a file and where `update-ca-certificates` takes it from."""
    files = (file("opt/company.pem", COMPANY), file("usr/local/share/ca-certificates/company.crt", COMPANY))
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["python3", "-c", small_image.SLEEPING]}
    layers = (world.python, (small_image.RELEASE, small_image.interpreter()[-1], *files))
    world.load(built(world.folder / "trusting", *layers, config=config), "trusting")
    return f"trusting:{world.own}"


def test_the_authorities_of_a_container_are_looked_for_in_it_and_not_here(
    world: World, trusting: str, tmp_path: Path
) -> None:
    """Who builds an image of it is told that the training trusted them; those of this machine are no concern of it."""
    (tmp_path / "ours.pem").write_bytes(b"an authority of this machine")
    inside = ("-e", "SSL_CERT_FILE=/opt/company.pem", "-e", "TZ=Asia/Tokyo", "-e", "LC_ALL=C.UTF-8")
    with world.started(trusting, options=(*inside, "-e", f"PIP_CERT={tmp_path}/ours.pem")) as name:
        there = read(f"container:{name}", options=world.options).system
    with world.started(world.small, options=("-e", f"SSL_CERT_FILE={tmp_path}/ours.pem")) as name:
        elsewhere = read(f"container:{name}", options=world.options).system

    assert there is not None
    assert elsewhere is not None
    assert there.own_authorities == ("SSL_CERT_FILE", "update-ca-certificates")
    assert there.ca_sha256 == hashlib.sha256(COMPANY).hexdigest()
    assert (there.time_zone, there.locale) == ("Asia/Tokyo", "C.UTF-8")
    assert (elsewhere.own_authorities, elsewhere.ca_sha256) == ((), None)


def test_the_authorities_that_a_pod_has_as_files_are_named_though_its_variables_are_not_known(
    world: World, trusting: str, tmp_path: Path
) -> None:
    # As kubectl is asked: exec -i --namespace ml POD -- WORDS
    docker = f"{needs_tool('docker')} -H {world.engine}"
    script(tmp_path / "kubectl", f'pod=$5; shift 6; exec {docker} exec -i "$pod" "$@"\n')
    environ = {**world.options.environ, "PATH": f"{tmp_path}:{world.options.environ['PATH']}"}
    with world.started(trusting, options=("-e", "SSL_CERT_FILE=/opt/company.pem")) as name:
        system = read(f"kube:ml/{name}", options=Options(environ=environ, base_dir=tmp_path)).system

    assert system is not None
    assert system.own_authorities == ("update-ca-certificates",)
    assert system.locale == ""


def test_what_was_installed_since_the_start_is_seen(world: World) -> None:
    """The reason to read a container, and not its image."""
    writing = (
        "import sysconfig, os; d = sysconfig.get_path('purelib') + '/late-2.0.dist-info'; os.makedirs(d); "
        "open(d + '/METADATA', 'w').write('Metadata-Version: 2.1\\nName: late\\nVersion: 2.0\\n\\n'); "
        "print('done', flush=True); "
    )
    with world.started(world.small, "python3", "-c", writing + small_image.SLEEPING) as name:
        for _ in range(600):
            if "done" in world.docker("logs", name):
                break
            time.sleep(0.1)
        environment = read(f"container:{name}", options=world.options)

    assert "late" in {item.name for item in environment.distributions or ()}


def test_a_container_without_a_python_is_read_as_its_image_and_says_so(world: World) -> None:
    server = Entry("opt/serve", "link", 0o777, target=PROGRAM)
    layers = (world.python, (small_image.RELEASE, small_image.STATUS, server))
    world.load(
        built(world.folder / "bare", *layers, config={"Cmd": ["/opt/serve", "-c", small_image.SLEEPING]}), "bare"
    )

    with world.started(f"bare:{world.own}", options=("-e", "OMP_NUM_THREADS=8")) as name:
        environment = read(f"container:{name}", options=world.options)

    assert [item.name for item in environment.os_packages or ()] == ["libc6", "zlib1g"]
    assert environment.distributions is None
    assert environment.settings is not None
    assert environment.settings.variables[0].value == "8"
    assert "its image was read" in " ".join(gap.reason for gap in environment.gaps)
    assert environment.origin.reference.startswith(f"container:{name}@sha256:")


def test_a_container_that_does_not_run_is_unreachable(world: World) -> None:
    with world.started(world.small, "python3", "-c", "pass") as name:
        world.docker("wait", name)
        with pytest.raises(UnreachableError, match="does not run: it is exited") as caught:
            read(f"container:{name}", options=world.options)
    assert f"docker:{world.small}" in caught.value.hint

    with pytest.raises(UsageError, match="has no container"):
        read("container:envparity-absent", options=world.options)
    with pytest.raises(UsageError, match="not the name of a container"):
        read("container:../x", options=world.options)


SLOW = "/usr/local/bin/python3"


@pytest.fixture(scope="module")
def slow(world: World) -> str:
    """An image whose `python3` never answers."""
    sleeping = Entry(SLOW[1:], "file", 0o755, content=f"#!{PROGRAM}\n{small_image.SLEEPING}\n".encode())
    layers = (world.python, (small_image.RELEASE, sleeping))
    config = {"Env": ["PATH=/usr/local/bin"], "Cmd": ["python3"]}
    world.load(built(world.folder / "slow", *layers, config=config), "slow")
    return f"slow:{world.own}"


def processes(world: World, name: str) -> int:
    """How many run in a container."""
    return len(world.docker("top", name, "-o", "pid").splitlines()) - 1


@pytest.mark.parametrize(("how", "says"), [(("kill",), "stopped|was removed"), (("rm", "-f"), "was removed|stopped")])
def test_a_container_that_goes_away_meanwhile_gives_no_half_snapshot(
    world: World, slow: str, how: tuple[str, ...], says: str
) -> None:
    with world.started(slow) as name:
        alone = processes(world, name)

        def end() -> None:
            for _ in range(600):
                if processes(world, name) > alone:  # the one that is asked has begun
                    break
                time.sleep(0.1)
            world.docker(*how, name)

        ending = threading.Thread(target=end)
        ending.start()
        try:
            with pytest.raises(UnreachableError, match=says):
                read(f"container:{name}", options=world.options)
        finally:
            ending.join()


def test_a_container_that_does_not_answer_has_a_time_limit(world: World, slow: str) -> None:
    with world.started(slow) as name, pytest.raises(TimeLimitError, match="within 2 s"):
        read(f"container:{name}", options=Options(environ=world.options.environ, timeout_s=2))


def test_an_image_that_the_engine_does_not_have_is_a_usage_error(world: World) -> None:
    with pytest.raises(UsageError, match="has no image `absent:1`"):
        read("docker:absent:1", options=world.options)


def test_the_commands_take_every_place(world: World) -> None:
    variables = {**world.options.environ}
    with world.started(world.small) as name:
        shown = envparity("diff", f"container:{name}", f"registry:{world.there}", **variables)
        refused = envparity("snapshot", f"container:{name}x", status=2, **variables)

    assert "six" not in shown.stdout
    assert "has no container" in refused.stderr
