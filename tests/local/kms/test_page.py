import re
import subprocess
import sys

from tests.local.kms.served import ROOT


def test_the_example_of_the_page_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "local-kms.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.stdout.split("\n")[:2] == ["AccessDeniedException", "b'a secret'"], done.stderr
