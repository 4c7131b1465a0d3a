"""`python main.py -c FILE -o Section.key=value` is `blemish run` with the same arguments."""

import sys

from blemish.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
