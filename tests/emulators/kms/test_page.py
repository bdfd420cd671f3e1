"""docs/local-kms.md says what is so, and the command line says what is wrong."""

import re
import subprocess
import sys

from tests.emulators.kms.served import ROOT, Served
from tests.patience import PATIENCE_S


def test_the_example_of_the_page_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "local-kms.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)

    assert done.stdout.split("\n")[:2] == ["AccessDeniedException", "b'a secret'"], done.stderr


def test_a_port_that_cannot_be_used_is_said_in_one_sentence(aws: Served) -> None:
    for port, said in (
        (aws.url.rpartition(":")[2], "Address already in use; name another"),
        ("70000", "is not a port"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "emulators.kms", "--port", port], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]
