"""`python -m guard`: a rule set's faults, or its hash, as tickets name it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from guard import Rules, SentRules, strictest
from tests.guard.test_sent import WRITTEN


def told(path: Path, rules: str, *options: str) -> tuple[int, str, str]:
    path.write_text(rules)
    done = subprocess.run(
        [sys.executable, "-m", "guard", str(path), *options], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_hash_is_that_of_tickets_and_faults_are_told_in_words(tmp_path: Path) -> None:
    golden = json.loads(WRITTEN)
    tools = [option for glob in golden["key_tools"] for option in ("--key-tool", glob)]
    code, said, _ = told(tmp_path / "rules.json", json.dumps(golden["rules"]), *tools)
    assert (code, said.strip()) == (0, hashlib.sha256(WRITTEN).hexdigest())
    own = tmp_path / "own.json"
    own.write_text('{"max_prompt_bytes":99}')
    code, said, _ = told(tmp_path / "rules.json", json.dumps(golden["rules"]), "--key-rules", str(own))
    both = strictest(SentRules.read(WRITTEN).rules, Rules(max_prompt_bytes=99))
    assert (code, said.strip()) == (0, hashlib.sha256(SentRules(both).written()).hexdigest())
    shown = {
        **golden["rules"],
        "allow": {"pools": ["a"]},
        "bedrock": None,
        "offered": [],
        "version": 3,
        "changed_ms": 1,
    }
    code, said, _ = told(tmp_path / "rules.json", json.dumps(shown), *tools)
    assert (code, said.strip()) == (0, hashlib.sha256(WRITTEN).hexdigest()), "as a gateway shows them"
    for rules, fault in (('{"rulez":[]}', "rulez"), ('{"packs":["dogs"]}', "no pack 'dogs'"), ("{", "truncated")):
        code, said, complaint = told(tmp_path / "rules.json", rules)
        assert (code, said) == (1, "")
        assert fault in complaint
