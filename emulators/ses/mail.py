"""A mail as SES takes it: what it refuses, it refuses in its own words."""

import re

import msgspec

_ADDRESS = re.compile(r"[^\s@<>,;]{1,64}@[^\s@<>,;]{1,190}")
_HEADER = re.compile(r"[!-9;-~]{1,126}")
MOST_RECIPIENTS = 50


class NotTaken(Exception):
    """The text is for the sender."""


class _Text(msgspec.Struct):
    data: str = msgspec.field(name="Data")
    charset: str = msgspec.field(default="UTF-8", name="Charset")


class _Body(msgspec.Struct):
    text: _Text | None = msgspec.field(default=None, name="Text")
    html: _Text | None = msgspec.field(default=None, name="Html")


class _Header(msgspec.Struct):
    name: str = msgspec.field(name="Name")
    value: str = msgspec.field(name="Value")


class _Simple(msgspec.Struct):
    subject: _Text = msgspec.field(name="Subject")
    body: _Body = msgspec.field(name="Body")
    headers: list[_Header] = msgspec.field(default_factory=list, name="Headers")


class _Content(msgspec.Struct):
    simple: _Simple = msgspec.field(name="Simple")


class _Destination(msgspec.Struct):
    to: list[str] = msgspec.field(name="ToAddresses")


class _Request(msgspec.Struct):
    sender: str = msgspec.field(name="FromEmailAddress")
    destination: _Destination = msgspec.field(name="Destination")
    content: _Content = msgspec.field(name="Content")


class Mail(msgspec.Struct, frozen=True):
    """As it would be delivered."""

    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    headers: dict[str, str]


def mail_of(body: bytes) -> Mail:
    """Raises NotTaken."""
    try:
        asked = msgspec.json.decode(body, type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotTaken(str(error)) from None
    simple = asked.content.simple
    if not 1 <= len(asked.destination.to) <= MOST_RECIPIENTS:
        raise NotTaken("Recipient count is not between 1 and 50")
    for address in (asked.sender, *asked.destination.to):
        if not _ADDRESS.fullmatch(address):
            raise NotTaken(f"Invalid address: {address!r}")
    if re.search(r"[\r\n]", simple.subject.data):
        raise NotTaken("Control characters not allowed in the subject")
    if simple.body.text is None:
        raise NotTaken("A body of text is needed here")
    for header in simple.headers:
        if not _HEADER.fullmatch(header.name) or not re.fullmatch(r"[ -~]{1,870}", header.value):
            raise NotTaken(f"Invalid header: {header.name!r}")
    headers = {header.name: header.value for header in simple.headers}
    return Mail(asked.sender, tuple(asked.destination.to), simple.subject.data, simple.body.text.data, headers)
