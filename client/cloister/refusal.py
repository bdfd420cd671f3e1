"""Every way that the client refuses to go on. The text says what to do, and never quotes what was sealed.

    SealError
    |-- NotConfigured           the transport or the command was set up wrongly
    |-- BadArn                  a KMS key is not named by its full ARN
    |-- ManifestRefused         the release manifest, or a list of measurements, is not to be used
    |-- NotSealed               this request would leave in the clear, or does not fit the mode
    |-- KmsRefused              your KMS did not do its part
    |-- AttestationUnavailable  the gateway has no document to show
    |-- DocumentRefused         the document does not prove the enclave that you allow
    |-- NotOpened               the answer is not the enclave's answer to this request
    |-- OtherRules              the answer was judged by other rules than those that you expect
    `-- BrokenOff               the answer ends before its end

None of them is an error of httpx: the openai SDK tries those again and hides them behind "Connection error.".
"""

from cloister._sealed import refusal
from cloister._sealed.refusal import BadArn, DocumentRefused, ManifestRefused, SealedError

__all__ = [
    "AttestationUnavailable",
    "BadArn",
    "BrokenOff",
    "DocumentRefused",
    "KmsRefused",
    "ManifestRefused",
    "NotConfigured",
    "NotOpened",
    "NotSealed",
    "OtherRules",
    "SealError",
]

SealError = SealedError


class NotConfigured(SealError):
    """A parameter or setting is missing or makes no sense."""


class NotSealed(SealError):
    """Nothing was sent: it would have left in the clear, or does not fit the mode."""


class KmsRefused(SealError):
    """The caller's own KMS refused to encrypt or decrypt, or was not there."""


class AttestationUnavailable(SealError):
    """The gateway did not answer with an attestation document."""


class NotOpened(refusal.NotOpened):
    """The answer was made for another request, by somebody else, or was changed on its way."""

    def __init__(self) -> None:
        SealedError.__init__(
            self,
            "The answer cannot be opened: it was not sealed for this request, or was changed on its way. "
            "Do not use what may have come of it. Ask again; if it happens again, the path to the enclave is not "
            "to be trusted: tell its operator.",
        )


class OtherRules(SealError):
    """The answer is genuine, and what was asked or answered may have been changed, or ended, by rules not expected."""

    def __init__(self) -> None:
        super().__init__(
            "The answer was judged by other rules than `rules_sha256` expects. If they were changed lately, expect the "
            "new ones; else whoever runs the gateway sends rules of their own: ask them."
        )


class BrokenOff(refusal.BrokenOff):
    """The answer is genuine so far, and not whole."""

    def __init__(self) -> None:
        SealedError.__init__(
            self,
            "The answer ended before its end. What came is genuine but not whole: discard it and ask again.",
        )
