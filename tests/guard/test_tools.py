"""Which tools are allowed."""

import pytest

from guard import Rules, Tools, compiled


@pytest.mark.parametrize(
    ("tools", "name", "allowed"),
    [
        (Tools(), "anything", True),
        (Tools(allowed=("get_*",)), "get_weather", True),
        (Tools(allowed=("get_*",)), "set_weather", False),
        (Tools(allowed=("get_*",)), "forget_it", False),
        (Tools(allowed=("get_*",), blocked=("*_secret",)), "get_secret", False),
        (Tools(blocked=("sh?ll",)), "shell", False),
        (Tools(blocked=("sh?ll",)), "shll", True),
        (Tools(blocked=("a.b",)), "axb", True),
        (Tools(blocked=("[x]",)), "[x]", False),
        (Tools(blocked=("Shell",)), "shell", True),
        (Tools(blocked=("x*",)), "x\nrm", False),
        (Tools(allowed=("ä?",)), "äö", True),
        (Tools(blocked=("*a*a*a*a*a*a*a*b",)), "a" * 10_000, True),
    ],
)
def test_a_tool_is_allowed_or_not(tools: Tools, name: str, allowed: bool) -> None:
    assert compiled(Rules(tools=tools)).tool_allowed(name) is allowed
