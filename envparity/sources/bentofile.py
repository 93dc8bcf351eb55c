"""What a BentoML build file (`bentofile.yaml`) asks for (https://docs.bentoml.com/en/latest/reference/bentoml/bento-build-options.html)."""

from __future__ import annotations

from msgspec import Struct, field

from envparity import codec
from envparity.collectors.tree import gap
from envparity.sources.documents import of_python, python_version, shaped
from envparity.sources.environment_yml import of_dependencies
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.sources.requirements import facts_of, facts_of_file
from envparity.values import Environment

TITLE = "a BentoML build file"


class _Python(Struct, frozen=True):
    packages: tuple[str, ...] | None = None
    requirements_txt: str | None = None
    lock_packages: bool | None = None


class _Conda(Struct, frozen=True):
    environment_yml: str | None = None
    dependencies: tuple[str, ...] | None = None
    pip: tuple[str, ...] | None = None


class _Docker(Struct, frozen=True):
    python_version: str | float | None = None
    base_image: str | None = None
    distro: str | None = None
    cuda_version: str | float | None = None
    system_packages: tuple[str, ...] | None = None
    setup_script: str | None = None
    dockerfile_template: str | None = None
    env: dict[str, object] | tuple[str, ...] | str | None = None


class _File(Struct, frozen=True):
    service: str | None = None
    python: _Python | None = field(default_factory=_Python)
    conda: _Conda | None = field(default_factory=_Conda)
    docker: _Docker | None = field(default_factory=_Docker)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `bentofile.yaml` declares, with the requirements and environment files that it names.

    Raises:
        UsageError: a file that it names is missing. MalformedError: not YAML, another shape, no requirement.
    """
    file = shaped(codec.load_yaml(data, f"`{name}`", foreign=True), _File, name, TITLE)
    python, conda, docker = file.python or _Python(), file.conda or _Conda(), file.docker or _Docker()
    folder = (options.base_dir / name).parent
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    found += facts_of(python.packages or (), f"{name} (python.packages)", folder)
    if python.requirements_txt:
        found += facts_of_file(python.requirements_txt, folder)
    if conda.dependencies or conda.pip:
        found += of_dependencies((*(conda.dependencies or ()), {"pip": conda.pip or ()}), f"{name} (conda)", folder)
    if conda.environment_yml:
        found.append(
            gap("conda_packages", "not-recorded", f"they stand in {conda.environment_yml[:80]}: name that file")
        )
    found += _docker(docker)
    asked = of_python(python_version(docker.python_version, "docker.python_version"))
    spoken = {fact["kind"] for fact in found} | {fact.get("section", "") for fact in found}
    known = ["distributions", *(["python"] if asked or "python" in spoken else [])]
    known += [section for section in ("conda_packages", "os_packages", "settings", "system") if section in spoken]
    unknown = not_recorded(all_but(*known), "a bentofile.yaml cannot carry it")
    return codec.environment([*found, *([asked] if asked else []), *unknown], origin("bentofile", name), open=True)


def _docker(docker: _Docker) -> list[Fact]:
    found: list[Fact] = []
    if docker.base_image or docker.distro:
        what = without_secrets(docker.base_image or docker.distro or "")[:120]
        found.append(gap("system", "not-recorded", f"it comes from {what}, which is not read"))
    if docker.system_packages:
        reason = f"it asks for {', '.join(docker.system_packages)[:200]}; which versions is known when it is built"
        found.append(gap("os_packages", "not-recorded", reason))
    found += (
        gap("distributions", "not-recorded", f"what `{key}` does is not known", f"docker.{key}")
        for key in ("setup_script", "dockerfile_template")
        if getattr(docker, key)
    )
    if isinstance(docker.env, dict):
        found.append({"kind": "settings", "names_only": sorted(docker.env)})
    return found
