"""The service without a server: whatever is asked is answered, or refused by name."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from moto.kms.models import kms_backends

from emulators.aws_services import ACCOUNT, create_operator
from emulators.kms.operations import OPERATIONS
from emulators.kms.records import Records
from emulators.kms.refusal import KmsError
from emulators.kms.service import Asked, Service
from tests.emulators.kms.served import REGION

PARAMETERS = [
    "CiphertextBlob",
    "EncryptionAlgorithm",
    "EncryptionContext",
    "KeyAgreementAlgorithm",
    "KeyId",
    "KeyPairSpec",
    "KeySpec",
    "NumberOfBytes",
    "Plaintext",
    "PublicKey",
    "Recipient",
]
_moto = kms_backends[ACCOUNT][REGION]
_KEYS = [
    _moto.create_key(None, usage, spec, "", []).arn
    for usage, spec in [("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"), ("KEY_AGREEMENT", "ECC_NIST_P256")]
]
_ACCESS_KEY = create_operator("fuzzer", REGION).access_key_id

blobs = st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: b"\x01" + ACCOUNT.encode() + b"$" + tail)
encoded = blobs.map(lambda blob: base64.b64encode(blob).decode())
recipients = st.fixed_dictionaries(
    {"KeyEncryptionAlgorithm": st.just("RSAES_OAEP_SHA_256"), "AttestationDocument": encoded}
)
values: st.SearchStrategy[Any] = (
    st.sampled_from([*_KEYS, "alias/x", "AES_256", "ECDH", "ECC_NIST_P256", 32, True, None, [], {}])
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
    | encoded
    | recipients
)
bodies = st.builds(
    lambda likely, wild: likely | wild,
    st.fixed_dictionaries(
        {"KeyId": st.sampled_from(_KEYS)}, optional={"CiphertextBlob": encoded, "PublicKey": encoded}
    ),
    st.dictionaries(st.sampled_from(PARAMETERS), values, max_size=3),
)


@given(st.sampled_from(sorted(OPERATIONS)), bodies)
def test_whatever_is_asked_is_answered_or_refused(operation: str, body: dict[str, Any]) -> None:
    service = Service(root=lambda: b"no root", clock=lambda: 0, new_id=lambda: "id", records=Records(None))
    authorization = f"Credential={_ACCESS_KEY}/20260101/{REGION}/kms/aws4_request"
    try:
        service.answer(Asked("id", operation, authorization, "", json.dumps(body).encode()))
    except KmsError as refused:
        assert refused.code.endswith("Exception")
