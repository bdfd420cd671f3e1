"""Cloister for those who call it: each request is sealed here, and only an attested enclave can open it.

    transport    SealedTransport, the one line for the official openai SDK
    exchange     what of a request is sealed, in which order, and when once more
    trust        which enclave is believed, and for how long
    judging      by which rules an answer was judged
    ending       the last event of a stream waits for the proof that all of it is there
    modes        how `kms`, `esdk` and `hpke` seal a request and open its answer
    key_policy   a KMS key policy under which only that enclave decrypts
    statement    a key policy's statement, as it is judged
    lint         what is wrong with another policy, statement by statement
    cli          the command `cloister`
    _sealed      the formats themselves, as the enclave has them: the folder `sealed` of the repository

client/README.md says what is verified, and what each error means.
"""

from cloister._sealed.measurements import Measurements
from cloister.exchange import NO_API_KEY
from cloister.refusal import (
    AttestationUnavailable,
    BadArn,
    BrokenOff,
    DocumentRefused,
    KmsRefused,
    ManifestRefused,
    NotConfigured,
    NotOpened,
    NotSealed,
    OtherRules,
    SealError,
)
from cloister.transport import AsyncSealedTransport, SealedTransport
from cloister.trust import ANY_ENCLAVE, ReleaseManifest

__all__ = [
    "ANY_ENCLAVE",
    "NO_API_KEY",
    "AsyncSealedTransport",
    "AttestationUnavailable",
    "BadArn",
    "BrokenOff",
    "DocumentRefused",
    "KmsRefused",
    "ManifestRefused",
    "Measurements",
    "NotConfigured",
    "NotOpened",
    "NotSealed",
    "OtherRules",
    "ReleaseManifest",
    "SealError",
    "SealedTransport",
]
