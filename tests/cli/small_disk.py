"""
Run a command with a file system of its own below it: `python small_disk.py FOLDER SIZE (ro|rw) COMMAND...`.

Started by `unshare --map-root-user --mount`, so that the mount is seen here only and ends with this process. What
`FOLDER` held is on the new disk too. Prints, as JSON, how the command ended and what the disk holds then.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

folder, size, mode, *command = sys.argv[1:]
aside = Path(f"{folder}.before")
shutil.copytree(folder, aside)
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
shutil.copytree(aside, folder, dirs_exist_ok=True)
if mode == "ro":
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/", check=False)
left = {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(Path(folder).rglob("*"))
    if path.is_file()
}
print(json.dumps({"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr, "left": left}))
