"""A key attribute as bytes that sort as DynamoDB sorts it: strings by their UTF-8, numbers by value.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

import base64
from decimal import Decimal
from typing import Any

_NEGATIVE, _ZERO, _POSITIVE = b"\x01", b"\x02", b"\x03"
_LEAST_EXPONENT = -130


def ordered(attribute: dict[str, Any]) -> bytes:
    """`attribute`: as the wire has it, {type: value}. Raises KeyError where it cannot be a key."""
    [(kind, value)] = attribute.items()
    if kind == "S":
        return b"S" + str(value).encode()
    if kind == "B":
        return b"B" + (value if isinstance(value, bytes) else base64.b64decode(value))
    if kind == "N":
        return b"N" + _number(Decimal(value))
    raise KeyError(kind)


def _number(value: Decimal) -> bytes:
    if not value:
        return _ZERO
    digits = bytes(digit + 1 for digit in value.normalize().as_tuple().digits)
    # Larger exponents first, then digits; the end is less than any digit.
    magnitude = bytes([value.adjusted() - _LEAST_EXPONENT]) + digits + b"\x00"
    if value > 0:
        return _POSITIVE + magnitude
    return _NEGATIVE + bytes(255 - byte for byte in magnitude)
