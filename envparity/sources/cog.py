"""What a Cog build file (`cog.yaml`) asks for (https://github.com/replicate/cog/blob/main/docs/yaml.md)."""

from __future__ import annotations

from msgspec import Struct, field

from envparity import codec
from envparity.collectors.tree import gap
from envparity.sources.documents import of_python, python_version, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.sources.requirements import facts_of, facts_of_file
from envparity.values import Environment

TITLE = "a Cog build file"


class _Build(Struct, frozen=True):
    python_version: str | float | None = None
    python_packages: tuple[str, ...] | None = None
    python_requirements: str | None = None
    system_packages: tuple[str, ...] | None = None
    run: tuple[str | dict[str, object], ...] | None = None
    gpu: bool | None = None
    cuda: str | float | None = None
    cudnn: str | int | None = None


class _File(Struct, frozen=True):
    build: _Build = field(default_factory=_Build)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `cog.yaml` declares, with the requirements file that it names. What its commands do is a gap.

    Raises:
        UsageError: the requirements file is missing. MalformedError: not YAML, another shape, no requirement.
    """
    build = shaped(codec.load_yaml(data, f"`{name}`", foreign=True), _File, name, TITLE).build
    folder = (options.base_dir / name).parent
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    found += facts_of(build.python_packages or (), f"{name} (build.python_packages)", folder)
    if build.python_requirements:
        found += facts_of_file(build.python_requirements, folder)
    for command in build.run or ():
        text = command if isinstance(command, str) else str(command.get("command", ""))
        shown = without_secrets(" ".join(text.split()))[:80]
        found.append(gap("distributions", "not-recorded", f"what this command does is not known: {shown}", "build.run"))
    system = f"asks for {', '.join(build.system_packages)}" if build.system_packages else "names no package"
    found.append(gap("os_packages", "not-recorded", f"it {system}; which versions there are is known when it is built"))
    if build.gpu:
        cuda = f"CUDA {build.cuda}" if build.cuda else "a CUDA that Cog chooses"
        found.append(gap("accelerators", "not-recorded", f"it asks for a GPU and {cuda}"))
    asked = of_python(python_version(build.python_version, "build.python_version"))
    known = ["distributions", "os_packages", *(["python"] if asked else []), *(["accelerators"] if build.gpu else [])]
    unknown = not_recorded(all_but(*known), "a cog.yaml cannot carry it")
    return codec.environment([*found, *([asked] if asked else []), *unknown], origin("cog", name), open=True)
