"""Start serving: the command that an image built with `--serve` has as its entry point."""

import sys

from envparity_serving.starting import main

if __name__ == "__main__":
    sys.exit(main())
