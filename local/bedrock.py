"""`python -m local.bedrock`: the program of `emulators.bedrock`."""

import sys

from emulators.bedrock.__main__ import main

if __name__ == "__main__":
    sys.exit(main("python -m local.bedrock"))
