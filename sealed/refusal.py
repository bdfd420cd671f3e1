"""Every way that something sealed is refused. The text is public by contract: it never quotes what was sealed.

SealedError
|-- DocumentRefused    an attestation document: the text says why
|-- EnvelopeRefused    KMS's envelope for the enclave
|-- NotOpened          a request or an answer: one text, whatever is wrong with it
|-- BrokenOff          an answer that ends before its end
|-- TooLong            more than the mode can carry
|-- TicketRefused      the gateway's permission
|-- FrameRefused       framing: a size or a type
|-- BadArn             not the full ARN of a key
`-- ManifestRefused    a list of measurements
"""


class SealedError(Exception):
    """Something sealed, or what vouches for it, was refused. `text` may be shown."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class DocumentRefused(SealedError):
    """The attestation document does not prove what it should."""


class EnvelopeRefused(SealedError):
    """KMS's answer is not an envelope that this enclave can open."""

    def __init__(self) -> None:
        super().__init__("The envelope could not be opened.")


class NotOpened(SealedError):
    """It was not sealed for this exchange, or was changed on its way. Which of the two is never said."""

    def __init__(self) -> None:
        super().__init__("It could not be opened: it was not sealed for this exchange, or was changed on its way.")


class BrokenOff(SealedError):
    """The answer ends before its end: it was cut, or the model broke off."""

    def __init__(self) -> None:
        super().__init__("The sealed answer ended before its end.")


class TooLong(SealedError):
    """More than this mode can carry."""


class TicketRefused(SealedError):
    """The gateway has not permitted this."""


class FrameRefused(SealedError):
    """The other side does not keep to the framing."""


class BadArn(SealedError):
    """Not the full ARN of a KMS key."""


class ManifestRefused(SealedError):
    """The list of measurements is not signed by the release key, or makes no sense."""
