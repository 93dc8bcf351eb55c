"""What conda-lock's own parser finds in some lock files, as JSON: it runs in conda-lock's environment, not in ours."""

import json
import sys
from pathlib import Path

from conda_lock.lockfile import parse_conda_lock_file


def packages(path):
    for package in parse_conda_lock_file(Path(path)).package:
        yield {
            "platform": package.platform,
            "manager": package.manager,
            "name": package.name,
            "version": package.version,
            "url": package.url,
            "sha256": package.hash.sha256,
            "md5": package.hash.md5,
            "categories": sorted(package.categories),
        }


json.dump([list(packages(path)) for path in sys.argv[1:]], sys.stdout)
