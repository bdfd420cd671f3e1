"""Recipients are proved once, and judged by their age at every call."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from emulators.kms.recipient import RecipientInfo, Recipients
from emulators.kms.refusal import KmsError
from emulators.security_module import Authority, SimulatedSecurityModule
from sealed import attestation

MADE_MS = 1_800_000_000_000


def test_a_document_that_was_good_is_refused_once_it_is_stale_or_its_root_is_no_longer_trusted() -> None:
    authority, another = Authority.made(MADE_MS), Authority.made(MADE_MS)
    trusted = [authority]
    recipients = Recipients(lambda: attestation.root_of(trusted[-1].root_pem()))
    public_key = rsa.generate_private_key(65_537, 2048).public_key()
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    document = SimulatedSecurityModule(authority, clock=lambda: MADE_MS).attest(public_key=der)
    info = RecipientInfo(document, "RSAES_OAEP_SHA_256")

    assert recipients.verified(info, MADE_MS).public_key == public_key
    assert recipients.verified(info, MADE_MS + 300_000).public_key == public_key
    with pytest.raises(KmsError, match="older"):
        recipients.verified(info, MADE_MS + 300_001)

    trusted.append(another)
    with pytest.raises(KmsError, match="Recipient"):
        recipients.verified(info, MADE_MS)
