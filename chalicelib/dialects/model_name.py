"""The model's name in an answer: as the caller asked for it, whatever the target calls its model. Pure.

An answer's bytes are spliced, not re-encoded; one that says the name already is left as it is.
"""

import msgspec

MISSING = msgspec.Raw(b"null")
"""What stands for the member `model` where there is none."""


class ModelName:
    """Writes one name into the JSON objects of one answer. Not thread-safe."""

    def __init__(self, name: str) -> None:
        """`name`: empty, to leave every answer's own."""
        self._name = name
        self._text = msgspec.json.encode(name)
        # How the target writes its own, found in its first chunk, and what is put in its place.
        self._own = self._there = self._here = b""

    def put(self, data: bytes, said: msgspec.Raw) -> bytes:
        """The JSON object with the name as its `model`, which is `said` now, at the top."""
        own = bytes(said)
        if own == self._text:
            return data
        # No text holds these bytes, because its quotes would be escaped; but an object within could.
        if own == self._own and data.count(self._there) == 1:
            return data.replace(self._there, self._here)
        return self._put_anyhow(data, own)

    def put_into(self, data: bytes, holder: str, said: msgspec.Raw) -> bytes:
        """Likewise for the `model` of the object that is the member `holder`."""
        if bytes(said) == self._text or not self._name:
            return data
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        members[holder] = msgspec.Raw(self.put(bytes(members[holder]), said))
        return msgspec.json.encode(members)

    def _put_anyhow(self, data: bytes, own: bytes) -> bytes:
        if not self._name:
            return data
        if own[:1] == b'"':
            for member in (b'"model":', b'"model": '):
                if data.count(member + own) == 1:
                    self._own, self._there, self._here = own, member + own, member + self._text
                    return data.replace(self._there, self._here)
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        return msgspec.json.encode({**members, "model": msgspec.Raw(self._text)})
