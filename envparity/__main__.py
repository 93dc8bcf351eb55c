"""`python -m envparity`: the command line, where its script is not on PATH."""

from envparity.cli import main

main()
