"""The two names of one processor architecture: as `uname -m` says it, and as Debian and OCI images name it."""

from __future__ import annotations

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""What `uname -m` says, to the architecture of an image (https://go.dev/doc/install/source#environment, GOARCH)."""

MACHINES = {architecture: machine for machine, architecture in ARCHITECTURES.items()}
"""The other way round."""
