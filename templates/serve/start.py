"""Start serving: the command that an image built with `--serve` has as its entry point."""

import os
import signal
import sys


def end(*_):
    """Nothing has begun: there is nothing to finish, and nobody to tell."""
    os._exit(0)


if __name__ == "__main__":
    # Before anything is imported, which takes longer than Python itself: the first process of a container gets no
    # signal that it has no handler for, and would be waited for, and killed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    from envparity_serving.starting import main

    sys.exit(main())
