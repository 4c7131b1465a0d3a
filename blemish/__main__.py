"""`python -m blemish` is the command `blemish`."""

import sys

from blemish.cli import main

if __name__ == "__main__":
    sys.exit(main())
