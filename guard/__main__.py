"""`python -m guard RULES.json`: what is wrong with a rule set, or the hash by which sealed requests name it."""

import argparse
import hashlib
import sys
from pathlib import Path

import msgspec

from guard import Rules, SentRules, problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m guard", description=__doc__)
    parser.add_argument("rules", type=Path, help="a file of rules, as PUT /tenants/{tenant}/guardrails takes them")
    parser.add_argument("--key-tool", action="append", default=[], help="a glob of tools that the caller's key has")
    options = parser.parse_args()
    try:
        rules = msgspec.json.decode(options.rules.read_bytes(), type=Rules)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        said = [str(error)]
    else:
        said = problems(rules)
    if said:
        print(f"{options.rules} cannot be used:", *said, sep="\n  ", file=sys.stderr)  # noqa: T201
        return 1
    print(hashlib.sha256(SentRules(rules, tuple(options.key_tool)).written()).hexdigest())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
