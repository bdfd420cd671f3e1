"""The model's name in an answer: as the caller asked for it, whatever the target calls its model. Pure.

An answer's bytes are spliced, not re-encoded; one that says the name already is left as it is.
"""

import msgspec

MISSING = msgspec.Raw(b"null")
"""What stands for the member `model` where there is none."""


class ModelName:
    """Writes one name into JSON objects."""

    def __init__(self, name: str) -> None:
        """`name`: empty, to leave every answer's own."""
        self._name = name
        self._text = msgspec.json.encode(name)

    def put(self, data: bytes, said: msgspec.Raw) -> bytes:
        """The JSON object with the name as its `model`, which is `said` now, at the top."""
        old = bytes(said)
        if old == self._text or not self._name:
            return data
        if old[:1] == b'"':
            # No string holds these bytes, because its quotes would be escaped. An object within could: see below.
            for member in (b'"model":', b'"model": '):
                before, found, after = data.partition(member + old)
                if found and found not in after:
                    return b"".join((before, member, self._text, after))
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        return msgspec.json.encode({**members, "model": msgspec.Raw(self._text)})

    def put_into(self, data: bytes, holder: str, said: msgspec.Raw) -> bytes:
        """Likewise for the `model` of the object that is the member `holder`."""
        if bytes(said) == self._text or not self._name:
            return data
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        members[holder] = msgspec.Raw(self.put(bytes(members[holder]), said))
        return msgspec.json.encode(members)
