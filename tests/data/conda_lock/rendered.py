"""What conda-lock renders of a lock file as an explicit list: it runs in conda-lock's environment, not in ours."""

import sys
from pathlib import Path

from conda_lock.conda_lock import render_lockfile_for_platform
from conda_lock.lockfile import parse_conda_lock_file

path, platform = sys.argv[1:]
lines = render_lockfile_for_platform(
    lockfile=parse_conda_lock_file(Path(path)),
    include_dev_dependencies=False,
    extras=set(),
    kind="explicit",
    platform=platform,
    suppress_warning_for_pip_and_explicit=True,
)
sys.stdout.write("\n".join(lines))
