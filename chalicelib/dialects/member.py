"""One member of a request that is translated, checked. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from chalicelib.refusal import Malformed

_TEXT_LIMIT = 300  # characters of what is said about a wrong member; it may quote one of any length


def member(fields: Mapping[str, msgspec.Raw], name: str, form: Any, whose: str) -> Any:
    """The member, decoded; None where it is not there. `whose`: the service whose request it is.

    Raises: Malformed, naming what is wrong.
    """
    if name not in fields:
        return None
    try:
        return msgspec.json.decode(fields[name], type=form)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        field = name + place.removesuffix("`")
        raise Malformed(f"{field}: {text[:_TEXT_LIMIT]}. This model takes less than {whose}'s.", field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(f"{name} is not valid UTF-8, or nested too deeply.", field=name) from None
