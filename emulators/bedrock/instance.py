"""The plainest instance of a JSON schema: what a model that knows no schema answers where it must obey one."""

from typing import Any

_PLAINEST: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None, "array": []}


def instance(schema: dict[str, Any]) -> Any:
    """All properties of an object are there. Of what narrows a value, only `const`, `enum` and `default` are obeyed."""
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: instance(each) for name, each in schema.get("properties", {}).items()}
    return _PLAINEST.get(kind)
