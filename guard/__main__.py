"""`python -m guard RULES.json`: what is wrong with a rule set, or the hash by which sealed requests name it."""

import argparse
import hashlib
import sys
from pathlib import Path

import msgspec

from guard import Rules, SentRules, problems, strictest

BESIDE = ("bedrock", "allow", "offered", "version", "changed_ms")
"""What a gateway takes, or shows, beside the rules: no enclave judges by it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m guard", description=__doc__)
    parser.add_argument("rules", type=Path, help="a file of rules, as /tenants/{tenant}/guardrails takes or shows them")
    parser.add_argument("--key-rules", type=Path, help="a file of the rules that the caller's key has besides")
    parser.add_argument("--key-tool", action="append", default=[], help="a glob of tools that the caller's key has")
    options = parser.parse_args()
    try:
        rules = _read(options.rules)
        if options.key_rules is not None:
            rules = strictest(rules, _read(options.key_rules))
    except _Faulty as faulty:
        print(faulty, file=sys.stderr)  # noqa: T201
        return 1
    print(hashlib.sha256(SentRules(rules, tuple(options.key_tool)).written()).hexdigest())  # noqa: T201
    return 0


class _Faulty(Exception):
    """The text says what is wrong."""


def _read(path: Path) -> Rules:
    """Raises _Faulty."""
    try:
        members = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        written = msgspec.json.encode({name: value for name, value in members.items() if name not in BESIDE})
        rules = msgspec.json.decode(written, type=Rules)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        said = [str(error)]
    else:
        said = problems(rules)
    if said:
        raise _Faulty("\n  ".join((f"{path} cannot be used:", *said)))
    return rules


if __name__ == "__main__":
    sys.exit(main())
