"""What a build puts beside its image, as a user asks for it, in a real registry without the referrers API."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from envparity.cache import Cache
from envparity.fetch import Fetcher
from envparity.network import Client
from tests.commands import envparity, refused
from tests.test_build import lock_of, wheel
from tests.tools import needs_tool, own_name


def test_what_is_attached_is_listed_and_read_and_the_image_is_the_same(registry: str, tmp_path: Path) -> None:
    """Two builds of one lock put the same beside the same; skopeo reads the image as before."""
    with Client(offline=True) as client:
        path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo.py": b""}, Fetcher(client, Cache(tmp_path / "cache"))))
    place, cache = f"{registry}/{own_name('tests/attached')}:1", {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache")}
    built = envparity("build", path, "--output", f"registry:{place}", **cache)
    digest = built.stdout.strip()

    assert "beside it: sbom, provenance, lock, snapshot" in built.stderr
    listed = envparity("show", f"registry:{place}", "--attached", "--format", "json", **cache).stdout
    assert [item["what"] for item in json.loads(listed)] == ["lock", "provenance", "sbom", "sbom", "snapshot"]
    again = envparity("build", path, "--output", f"registry:{place}", "--attach", "none", **cache)
    assert again.stdout.strip() == digest
    assert envparity("show", f"registry:{place}", "--attached", "--format", "json", **cache).stdout == listed
    lock = envparity("show", f"registry:{place}@{digest}", "--attachment", "lock", **cache).stdout
    assert lock == path.read_text()
    look = [needs_tool("skopeo"), "inspect", "--tls-verify=false", "-f", "{{.Digest}}", f"docker://{place}"]
    assert subprocess.run(look, check=True, capture_output=True, text=True).stdout.strip() == digest
    says = "nothing that can be attached"
    refused("build", path, "--output", f"registry:{place}", "--attach", "bom", status=2, says=says, **cache)
    text = envparity("show", f"registry:{place}", "--attached", **cache).stdout
    assert all(len(line) <= 80 for line in text.splitlines())
