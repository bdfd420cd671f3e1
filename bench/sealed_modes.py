"""How each mode seals a request and opens its answer, with what clients have: `sealed`, and KMS."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench import tenant
from bench.upstream import MODEL
from sealed import esdk, hpke, kms_mode
from sealed.hpke import KeyConfiguration

NONCE = "bench"

Open = Callable[[bytes], bytes]
"""From the answer's body to what the model said. Raises what the mode refuses with."""
Seal = Callable[[str, bytes], tuple[bytes, Open]]
"""From a request's id and its JSON to what is sent, and what opens the answer."""


@dataclass(frozen=True)
class Mode:
    """One column. `name` is the header's; empty for requests in the clear."""

    title: str
    name: str
    seal: Seal
    key_arn: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with each of its requests."""
        if not self.name:
            return {}
        sealed = "application/octet-stream"
        named = {"x-kms-key-id": self.key_arn} if self.key_arn else {}
        return {"content-type": sealed, "accept": sealed, "x-seal-mode": self.name, "x-model-pool": MODEL, **named}


def modes(kms: Any, key_arn: str, configuration: KeyConfiguration) -> tuple[Mode, ...]:
    """In the clear, and everything to compare it with. `kms` is boto3's client."""

    def in_clear(_: str, body: bytes) -> tuple[bytes, Open]:
        return body, lambda answer: answer

    def by_kms(_: str, body: bytes) -> tuple[bytes, Open]:
        asked = json.dumps(json.loads(body) | {"nonce": NONCE}).encode()
        blob = kms.encrypt(KeyId=key_arn, Plaintext=asked)["CiphertextBlob"]

        def opened(answer: bytes) -> bytes:
            plaintext = kms.decrypt(KeyId=key_arn, CiphertextBlob=answer)["Plaintext"]
            return kms_mode.checked(plaintext, nonce=NONCE, blob=blob)

        return blob, opened

    def by_esdk(request_id: str, body: bytes) -> tuple[bytes, Open]:
        there = esdk.request_context(tenant=tenant.NAME, request_id=request_id)
        back = esdk.response_context(tenant=tenant.NAME, request_id=request_id)

        def opened(answer: bytes) -> bytes:
            return b"".join(esdk.Opener(kms, key_arn, back, io.BytesIO(answer)).pieces())

        return esdk.seal(kms, key_arn, there, body), opened

    def by_hpke(hybrid: bool) -> Seal:
        def seal(request_id: str, body: bytes) -> tuple[bytes, Open]:
            wire, opener = hpke.seal_request(
                configuration, tenant=tenant.NAME, request_id=request_id, pool=MODEL, plaintext=body, hybrid=hybrid
            )

            def opened(answer: bytes) -> bytes:
                plaintext = b"".join(opener.feed(answer))
                opener.finish()
                return plaintext

            return wire, opened

        return seal

    return (
        Mode("unsealed", "", in_clear),
        Mode("kms", "kms", by_kms, key_arn),
        Mode("esdk", "esdk", by_esdk, key_arn),
        Mode("hpke X25519", "hpke", by_hpke(hybrid=False)),
        Mode("hpke X-Wing", "hpke", by_hpke(hybrid=True)),
    )
