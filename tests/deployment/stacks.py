"""The templates of the stacks beside the gateway's own."""

import json
from typing import Any

import cfnlint.decode

from tests.deployment.packages import ROOT


def template(stack: str) -> dict[str, Any]:
    """As `infra/<stack>.yaml` has it; another one each time."""
    found, problems = cfnlint.decode.decode(str(ROOT / "infra" / f"{stack}.yaml"))
    assert not problems
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read
