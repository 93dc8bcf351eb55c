"""The health check of the image: exit status 0 where the server answers that it is ready."""

import os
import sys
import urllib.request

if __name__ == "__main__":
    port = int(os.environ.get("SERVE_PORT", "8080"))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=4) as answer:
            sys.exit(0 if answer.status == 200 else 1)
    except OSError:
        sys.exit(1)
