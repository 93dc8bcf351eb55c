"""Start serving: the command that an image built with `--serve fastapi` has as its entry point."""

import sys

from envparity_serving.server import main

if __name__ == "__main__":
    sys.exit(main())
