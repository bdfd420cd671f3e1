"""The table of roles in docs/api.md is drawn from `identity/roles.py`: it is never written by hand."""

from pathlib import Path
from typing import get_args

from chalicelib.identity.roles import MEANING, PERMISSIONS
from chalicelib.tenancy.tenant import Role

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def table() -> str:
    """What stands there, one row for each permission."""
    roles = get_args(Role)
    rows = [("permission", "what it is for", *(f"`{role}`" for role in roles)), ("---",) * (2 + len(roles))]
    rows += [
        (f"`{name}`", meaning, *("yes" if name in PERMISSIONS[role] else "" for role in roles))
        for name, meaning in MEANING.items()
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_table_of_roles_is_what_the_code_says() -> None:
    assert table() in PAGE, f"docs/api.md wants this table:\n{table()}"
