"""The Bedrock of the running system: told what to say, and asked what it was asked."""

from typing import Any

import requests

from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S


def command(system: RunningSystem, **what: Any) -> None:
    done = requests.post(_control(system), json=what, timeout=PATIENCE_S)
    assert done.ok, done.text


def calls(system: RunningSystem) -> list[dict[str, Any]]:
    return list(requests.get(_control(system), timeout=PATIENCE_S).json()["calls"])


def _control(system: RunningSystem) -> str:
    return f"{system.env['CLOISTER_LOCAL_BEDROCK_URL']}/_control"
