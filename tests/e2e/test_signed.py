"""A signed image, as the tools of others judge it: real cosign 2.5, real skopeo 1.18, a real registry."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from envparity import lockfile, platforms
from envparity.attached import papers
from envparity.cache import Cache
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.oci import referrers
from envparity.oci.access import Access
from envparity.oci.places import open_image
from tests import keys, once
from tests.commands import envparity, refused
from tests.e2e import trixie
from tests.e2e.trixie import Tools
from tests.test_build import lock_of, wheel
from tests.tools import own_name


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return Tools(once.made_once(once.of_the_run(tmp_path_factory) / "trixie", trixie.unpack))


@dataclass(frozen=True)
class Others:
    """The tools of others, and where they look for their settings."""

    tools: Tools
    folder: Path

    def run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "HOME": str(self.folder), "COSIGN_PASSWORD": "s3cret"}
        argv = [*self.tools.command(name), *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=environ, cwd=self.folder)

    def cosign(self, place: str, public: Path, *verb: str) -> subprocess.CompletedProcess[str]:
        verb = verb or ("verify",)
        return self.run("cosign", *verb, "--key", public, "--insecure-ignore-tlog=true", place)

    def skopeo(self, place: str, public: Path) -> subprocess.CompletedProcess[str]:
        """A copy under a policy that takes what this key signed, and nothing else."""
        host, folder = place.partition("/")[0], self.folder / f"copy-{len(list(self.folder.iterdir()))}"
        by_key = [{"type": "sigstoreSigned", "keyPath": str(public)}]
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {host: by_key}}}
        (self.folder / "policy.json").write_text(json.dumps(policy))
        settings = self.folder / "registries.d"
        settings.mkdir(exist_ok=True)
        (settings / "default.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")
        options = ("--policy", self.folder / "policy.json", "--registries.d", settings)
        copy = ("copy", "-q", "--src-tls-verify=false", "--remove-signatures")
        return self.run("skopeo", *options, *copy, f"docker://{place}", f"dir:{folder}")


@pytest.fixture
def others(tools: Tools, tmp_path: Path) -> Others:
    (tmp_path / "others").mkdir()
    return Others(tools, tmp_path / "others")


def small_lock(folder: Path) -> tuple[Path, Mapping[str, str]]:
    with Client(offline=True) as client:
        path = lock_of(folder, wheel(folder, "demo", {"demo.py": b""}, Fetcher(client, Cache(folder / "cache"))))
    return path, {"ENVPARITY_CACHE_DIR": str(folder / "cache")}


def fresh(registry: str) -> str:
    """A repository that no earlier run, of the same image, has put anything into."""
    return f"{registry}/{own_name('tests/signed')}"


def several(folder: Path) -> tuple[Path, Mapping[str, str]]:
    """The same for two platforms."""
    path, cache = small_lock(folder)
    lock, _ = lockfile.read(path)
    targets = [
        msgspec.structs.replace(lock.targets[0], platform=platform) for platform in ("linux/amd64", "linux/arm64")
    ]
    alone = [
        msgspec.structs.replace(lock, targets=(each,), environments=(platforms.condition(each.platform),))
        for each in targets
    ]
    snapshot = (lockfile.artifacts_folder(path) / lock.snapshot.name).read_bytes()
    lockfile.write(lockfile.Recovered(platforms.joined(alone), {lock.snapshot.name: snapshot}), path)
    return path, cache


def test_a_key_that_did_not_sign_and_a_tag_that_was_moved_are_refused_by_everybody(
    registry: str, others: Others, tmp_path: Path
) -> None:
    lock, cache = small_lock(tmp_path)
    private, public = keys.pair(tmp_path)
    other = keys.pair(tmp_path, "other")[1]
    repository = fresh(registry)
    first, second = f"{repository}:1", f"{repository}:2"
    sign = ("--sign-key", private)
    envparity("build", lock, "--output", f"registry:{first}", *sign, **cache)
    built = envparity("build", lock, "--output", f"registry:{second}", "--label", "v=2", *sign, **cache)

    assert "signature" in built.stderr
    for place in (first, second):
        assert others.cosign(place, public).returncode == 0
        assert others.skopeo(place, public).returncode == 0
    seen = envparity("verify", f"registry:{first}", "--against", lock, "--key", public, status=None, **cache).stdout
    said = f"signature is good by {public}, for {first}"
    assert said.replace(" ", "") in "".join(seen.split())  # a long path is wrapped wherever the line ends
    attested = others.cosign(first, public, "verify-attestation", "--type", "slsaprovenance1")
    assert attested.returncode == 0, attested.stderr

    assert others.cosign(first, other).returncode != 0
    assert "verification failed" in others.skopeo(first, other).stderr
    says = "another key made it"
    refused("verify", f"registry:{first}", "--against", lock, "--key", other, status=5, says=says, **cache)

    moved = ("copy", "-q", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false")
    assert others.run("skopeo", *moved, f"docker://{second}", f"docker://{first}").returncode == 0
    assert "not accepted" in others.skopeo(first, public).stderr
    says = f"the key signed it as `{second}`"
    refused("verify", f"registry:{first}", "--against", lock, "--key", public, status=5, says=says, **cache)
    envparity("build", lock, "--output", f"registry:{first}", "--label", "v=3", **cache)
    assert others.cosign(first, public).returncode != 0
    assert "no signature exists" in others.skopeo(first, public).stderr
    says = "nobody signed this image"
    refused("verify", f"registry:{first}", "--against", lock, "--key", public, status=5, says=says, **cache)


def test_keys_and_signatures_of_cosign_are_taken(registry: str, others: Others, tmp_path: Path) -> None:
    """Its encrypted key signs here, and what it signed itself beside ours is good, too."""
    lock, cache = small_lock(tmp_path)
    assert others.run("cosign", "generate-key-pair").returncode == 0
    private, public = others.folder / "cosign.key", others.folder / "cosign.pub"
    own, own_public = keys.pair(tmp_path)
    place = f"{fresh(registry)}:1"
    cache = {**cache, "COSIGN_PASSWORD": "s3cret"}
    build = ("build", lock, "--output", f"registry:{place}", "--attach", "none", "--sign-key")
    wrong = {**cache, "COSIGN_PASSWORD": "wr0ng"}
    done = refused(*build, private, status=5, says="does not open the key", **wrong)
    assert "wr0ng" not in done.stderr

    envparity(*build, private, **cache)
    assert others.cosign(place, public).returncode == 0
    envparity(*build, own, **cache)
    signed = others.run("cosign", "sign", "--key", private, "--tlog-upload=false", "-y", place)
    assert signed.returncode == 0, signed.stderr
    for key in (public, own_public):
        seen = envparity("verify", f"registry:{place}", "--against", lock, "--key", key, status=None, **cache)
        assert "signature is good" in seen.stdout
        assert others.cosign(place, key).returncode == 0


def test_a_bundle_as_cosign_3_signs_by_itself_is_taken(registry: str, others: Others, tmp_path: Path) -> None:
    """cosign 2.5 writes the same, where it is asked for an attestation of that type."""
    lock, cache = small_lock(tmp_path)
    assert others.run("cosign", "generate-key-pair").returncode == 0
    place = f"{fresh(registry)}:1"
    built = envparity("build", lock, "--output", f"registry:{place}", "--attach", "none", **cache)
    (others.folder / "nothing.json").write_text("{}")
    bundle = ("attest", "--new-bundle-format", "--tlog-upload=false", "-y", "--key", others.folder / "cosign.key")
    said = ("--type", "https://sigstore.dev/cosign/sign/v1", "--predicate", others.folder / "nothing.json")
    pinned = f"{place.removesuffix(':1')}@{built.stdout.strip()}"
    signed = others.run("cosign", *bundle, *said, pinned)
    assert signed.returncode == 0, signed.stderr

    key = ("--key", others.folder / "cosign.pub")
    seen = envparity("verify", f"registry:{place}", *key, status=None, **cache).stdout
    assert "signature is good" in seen
    other = keys.pair(tmp_path)[1]
    refused("verify", f"registry:{place}", "--key", other, status=5, says="another key made it", **cache)


def test_what_a_key_signed_beside_an_image_is_what_cosign_finds_and_a_swapped_document_is_refused(
    registry: str, others: Others, tmp_path: Path
) -> None:
    """Whoever deploys has the key and the name alone."""
    lock, cache = small_lock(tmp_path)
    assert others.run("cosign", "generate-key-pair").returncode == 0
    private, public = others.folder / "cosign.key", others.folder / "cosign.pub"
    cache = {**cache, "COSIGN_PASSWORD": "s3cret"}
    place = f"{fresh(registry)}:1"
    envparity("build", lock, "--output", f"registry:{place}", "--sign-key", private, **cache)
    for kind in ("slsaprovenance1", "cyclonedx", "spdxjson"):
        found = others.cosign(place, public, "verify-attestation", "--type", kind)
        assert found.returncode == 0, found.stderr
    (others.folder / "scan.json").write_text('{"scanner": "found nothing"}')
    attest = ("attest", "--tlog-upload=false", "-y", "--type", "custom", "--predicate", others.folder / "scan.json")
    theirs = others.run("cosign", *attest, "--key", private, place)
    assert theirs.returncode == 0, theirs.stderr

    seen = envparity("verify", f"registry:{place}", "--key", public, status=None, **cache).stdout

    said = " ".join(seen.split())
    assert "against the lock attached to it" in said
    assert said.replace(" ", "").count("aresignedby") == 1
    assert "another, provenance, sbom" in said
    assert all(len(line) <= 80 for line in seen.splitlines())
    with Client() as client, referrers.opened(f"registry:{place}", access=Access(client), writes=True) as there:
        subject = referrers.subject_of(open_image(f"registry:{place}", access=Access(client)))
        other = referrers.Document(papers.LOCK, "application/toml", lock.read_bytes() + b"# mine\n", lock.name)
        there.attach(subject, [referrers.made(subject, other)])
    says = "the lock beside the image is not its own"
    refused("verify", f"registry:{place}", "--key", public, status=5, says=says, **cache)


def test_an_index_of_platforms_is_signed_as_cosign_asks_for_it(registry: str, others: Others, tmp_path: Path) -> None:
    """The tag leads to the index: that is what cosign looks up, and what a moved tag would exchange."""
    lock, cache = several(tmp_path)
    private, public = keys.pair(tmp_path)
    other = keys.pair(tmp_path, "other")[1]
    place = f"{fresh(registry)}:1"
    envparity("build", lock, "--platform", "all", "--output", f"registry:{place}", "--sign-key", private, **cache)

    assert others.cosign(place, public).returncode == 0
    assert others.cosign(place, other).returncode != 0
    for platform in ("linux/amd64", "linux/arm64"):
        chosen = ("--platform", platform)
        seen = envparity("verify", f"registry:{place}", *chosen, "--key", public, status=None, **cache).stdout
        assert "signature is good" in seen
    refused("verify", f"registry:{place}", *chosen, "--key", other, status=5, says="another key", **cache)

    alone = f"{place.removesuffix(':1')}:2"
    envparity("build", lock, "--platform", "all", "--output", f"registry:{alone}", "--label", "v=2", **cache)
    says = "nobody signed this image"
    refused("verify", f"registry:{alone}", *chosen, "--key", public, status=5, says=says, **cache)
    cosign = ("cosign", "sign", "--tlog-upload=false", "-y", "--key")
    assert others.run("cosign", "generate-key-pair").returncode == 0
    done = others.run(*cosign, others.folder / "cosign.key", alone)
    assert done.returncode == 0, done.stderr
    theirs = others.folder / "cosign.pub"
    seen = envparity("verify", f"registry:{alone}", *chosen, "--key", theirs, status=None, **cache).stdout
    assert "signature of the index" in seen
    moved = ("copy", "-q", "--all", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false")
    assert others.run("skopeo", *moved, f"docker://{place}", f"docker://{alone}").returncode == 0
    says = f"the key signed it as `{place}`"
    refused("verify", f"registry:{alone}", *chosen, "--key", public, status=5, says=says, **cache)
