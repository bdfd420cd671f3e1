"""`python -m local.kms`: the program of `emulators.kms`."""

import sys

from emulators.kms.__main__ import main

if __name__ == "__main__":
    sys.exit(main("python -m local.kms"))
