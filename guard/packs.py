"""Patterns of ours, as data, which a rule set takes by name.

One more: CONTRIBUTING.md, "A pack of guardrails".
"""

from collections.abc import Callable

import msgspec

from guard import checks

Check = Callable[[bytes], int]
"""How many bytes of a match are truly one; 0: it is none."""


class Pack(msgspec.Struct, frozen=True):
    pattern: str
    check: Check | None = None
    trail: str = ""  # a character of what follows a match and belongs to it, as far as it goes


PACKS = {
    "cards": Pack(
        r"\b(?:[2-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}"  # Visa, Mastercard, Discover, UnionPay, Maestro, JCB
        r"|3\d{3}[ -]?\d{6}[ -]?\d{4,5})\b",  # American Express, Diners Club
        checks.luhn,
    ),
    "iban": Pack(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b", checks.iban),
    "ssn": Pack(r"\b\d{3}(?:-\d{2}-| \d{2} )\d{4}\b", checks.ssn),
    "aws_keys": Pack(
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"  # the id; the secret beside it is found by what it is called
        r"""|(?i:aws_?secret_?(?:access_?)?key)["']?\s{0,4}[:=]\s{0,4}["']?[A-Za-z0-9/+]{40}"""
    ),
    "private_keys": Pack(
        r"-----BEGIN (?:[A-Z0-9]{1,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\s{1,2}(?:Proc-Type|DEK-Info|Version|Comment): [ -~]{0,60}){0,2}",
        trail=r"[A-Za-z0-9+/=\s\\]",  # a backslash: line ends as JSON writes them
    ),
    "mail": Pack(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,62}\.[A-Za-z]{2,18}\b"),
    "phone": Pack(
        r"\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}\b"  # E.164, grouped in any way
        r"|(?:\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b"  # North America
    ),
}
"""By the name that a rule set takes it by, and a match is found under."""
