"""One member of a Response's request, checked. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from chalicelib.dialects.member import member as read


def member(fields: Mapping[str, msgspec.Raw], name: str, form: Any) -> Any:
    """See dialects.member."""
    return read(fields, name, form, "OpenAI")
