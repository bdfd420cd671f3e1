"""What tenants and the gateway send: broken requests, answers, tickets and key configurations, and what reads them."""

import io
import random
from collections.abc import Callable

from sealed import esdk, hpke, kms_mode, ticket
from sealed.refusal import DocumentRefused, NotOpened, SealedError, TicketRefused
from tests.sealed import test_hpke, test_ticket
from tests.sealed.fuzz import Parser, broken

ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = esdk.request_context(tenant="acme", request_id="r-1")


class Kms:
    """One data key for everything: whatever gets as far as KMS gets past it."""

    def generate_data_key(self, **_: object) -> dict[str, object]:
        return {"CiphertextBlob": b"c" * 184, "Plaintext": bytes(32), "KeyId": ARN}

    def decrypt(self, **_: object) -> dict[str, object]:
        return {"Plaintext": bytes(32), "KeyId": ARN}


def breaking(*good: bytes) -> Callable[[random.Random], bytes]:
    return lambda chance: broken(chance.choice(good), chance)


def request() -> bytes:
    return hpke.seal_request(test_hpke.CONFIGURATION, **test_hpke.NAMES, plaintext=b"{}", hybrid=False)[0]


def open_request(data: bytes) -> None:
    hpke.token_of(data)
    hpke.open_request(data, test_hpke.KEYS, **test_hpke.NAMES)


def open_answer(data: bytes) -> None:
    opener = hpke.ResponseOpener(bytes(32), bytes(32))
    for start in range(0, len(data), 7):
        list(opener.feed(data[start : start + 7]))
    opener.finish()


def answer() -> bytes:
    sealer = hpke.ResponseSealer(bytes(32), bytes(32), bytes(32))
    return sealer.seal(b"Hello", final=False) + sealer.seal(b" world", final=True)


def open_message(data: bytes) -> None:
    esdk.replay_key(data, "arn")
    esdk.open(Kms(), ARN, CONTEXT, data)


def open_stream(data: bytes) -> None:
    list(esdk.Opener(Kms(), ARN, CONTEXT, io.BytesIO(data)).pieces())


def signed(chance: random.Random) -> bytes:
    good = ticket.sign(test_ticket.claims(), test_ticket.GATEWAY)
    return test_ticket.forged(broken(good[ticket.KID_BYTES + ticket.SIGNATURE_BYTES :], chance))


def verify(data: bytes) -> None:
    ticket.verify(data, test_ticket.BODY, test_ticket.KEYS, test_ticket.NOW_MS)


ECHOED = kms_mode.with_echo(b'{"text":"Hello"}', nonce="n", blob=b"")
MESSAGE = esdk.seal(Kms(), ARN, CONTEXT, bytes(5000))
PARSERS = {
    "hpke request": Parser(breaking(request()), open_request, NotOpened),
    "hpke answer": Parser(breaking(answer()), open_answer, SealedError),
    "key configuration": Parser(
        breaking(test_hpke.CONFIGURATION.to_json()), hpke.KeyConfiguration.parse, DocumentRefused
    ),
    "ticket": Parser(breaking(ticket.sign(test_ticket.claims(), test_ticket.GATEWAY)), verify, TicketRefused),
    "claims": Parser(signed, verify, TicketRefused),
    "esdk message": Parser(breaking(MESSAGE), open_message, NotOpened),
    "esdk stream": Parser(breaking(MESSAGE), open_stream, SealedError),
    "kms answer": Parser(breaking(ECHOED), lambda data: kms_mode.checked(data, nonce="n", blob=b""), NotOpened),
}
