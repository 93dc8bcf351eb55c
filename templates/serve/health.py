"""The health check of the image: exit status 0 where the server answers that it is ready."""

import json
import os
import sys
import urllib.request
from pathlib import Path

if __name__ == "__main__":
    port = int(os.environ.get("SERVE_PORT", "8080"))
    try:
        said = json.loads(Path(__file__).with_name("serving.json").read_text("utf-8"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{said['ready']}", timeout=4) as answer:
            sys.exit(0 if answer.status == 200 else 1)
    except OSError:
        sys.exit(1)
