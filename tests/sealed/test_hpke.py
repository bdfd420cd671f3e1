"""In mode hpke only the key's holder opens a request, and only its sender the answer, whole and in order."""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealed import hpke
from sealed.hpke import EpochKeys, KeyConfiguration, ResponseOpener, ResponseSealer
from sealed.refusal import BrokenOff, DocumentRefused, NotOpened, TooLong

KEYS = EpochKeys.derive(bytes(range(64)))
CONFIGURATION = KEYS.configuration(epoch="e-1", expires_ms=1_800_000_000_000, token=b"what KMS made of the seed")
NAMES: dict[str, Any] = {"tenant": "acme", "request_id": "r-1", "pool": "demo"}
PROMPT = b'{"messages":[]}'

both_kems = pytest.mark.parametrize("hybrid", [True, False], ids=["xwing", "x25519"])


def exchange(*, hybrid: bool = True) -> tuple[ResponseSealer, ResponseOpener]:
    wire, opener = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=hybrid)
    _, sealer, _ = hpke.open_request(wire, KEYS, **NAMES)
    return sealer, opener


def opened(opener: ResponseOpener, wire: bytes, step: int) -> Iterator[bytes]:
    for at in range(0, len(wire), step):
        yield from opener.feed(wire[at : at + step])
    opener.finish()


@both_kems
def test_a_request_and_its_answer_make_the_round(hybrid: bool) -> None:
    wire, opener = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=hybrid)
    plaintext, sealer, _ = hpke.open_request(wire, KEYS, **NAMES)
    assert plaintext == PROMPT
    assert list(opener.feed(sealer.seal(b"Hello", final=True))) == [b"Hello"]
    opener.finish()


def test_an_enclave_can_read_whose_keys_it_needs() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT)
    assert hpke.token_of(wire) == ("e-1", 1_800_000_000_000, b"what KMS made of the seed")


@both_kems
@pytest.mark.parametrize("name", NAMES)
def test_a_request_opens_for_no_other_tenant_request_or_pool(hybrid: bool, name: str) -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=hybrid)
    with pytest.raises(NotOpened):
        hpke.open_request(wire, KEYS, **{**NAMES, name: "another"})


def test_names_cannot_be_shifted_into_each_other() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, tenant="ab", request_id="c", pool="d", plaintext=PROMPT)
    with pytest.raises(NotOpened):
        hpke.open_request(wire, KEYS, tenant="a", request_id="bc", pool="d")


@both_kems
def test_a_request_opens_with_no_other_keys(hybrid: bool) -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=hybrid)
    with pytest.raises(NotOpened):
        hpke.open_request(wire, EpochKeys.derive(bytes(64)), **NAMES)


@both_kems
def test_a_flipped_bit_anywhere_in_a_request_is_refused(hybrid: bool) -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=hybrid)
    for at in range(len(wire)):
        changed = bytearray(wire)
        changed[at] ^= 1 << at % 8
        with pytest.raises(NotOpened):
            hpke.open_request(bytes(changed), KEYS, **NAMES)


def test_a_request_cut_anywhere_is_refused() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=False)
    for end in range(len(wire)):
        with pytest.raises(NotOpened):
            hpke.open_request(wire[:end], KEYS, **NAMES)


def test_an_oversize_request_is_refused_unread() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=bytes(hpke.MOST_REQUEST_BYTES))
    with pytest.raises(NotOpened):
        hpke.token_of(wire)


@pytest.mark.parametrize(
    "said",
    [
        {"version": 2},
        {"epoch": b""},
        {"epoch": b"e" * 65},
        {"epoch": b"e-1\0"},
        {"epoch": b"e-1\n"},
        {"token": b""},
        {"token": bytes(6145)},
    ],
)
def test_a_wire_of_another_form_is_refused_though_it_is_sealed_to_the_key(said: dict[str, Any]) -> None:
    """As whoever has the key's public half may make one: nothing in it is changed behind its seal."""
    assert hpke.open_request(made_by_hand(), KEYS, **NAMES)[0] == PROMPT
    with pytest.raises(NotOpened):
        hpke.open_request(made_by_hand(**said), KEYS, **NAMES)


def made_by_hand(*, version: int = 1, epoch: bytes = b"e-1", token: bytes = b"t") -> bytes:
    suite = hpke.SUITES[hpke.X25519]
    names = [name.encode() for name in NAMES.values()] + [epoch]
    info = b"cloister hpke v1 request\0" + b"".join(struct.pack(">H", len(name)) + name for name in names)
    enc, context = suite.create_sender_context(suite.kem.deserialize_public_key(CONFIGURATION.x25519), info)
    head = struct.pack(">BHB", version, hpke.X25519, len(epoch)) + epoch + struct.pack(">QH", 1, len(token)) + token
    head += struct.pack(">H", len(enc)) + enc
    return head + context.seal(PROMPT, head)


def test_a_key_of_small_order_is_refused() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=False)
    enc_at = wire.index(struct.pack(">H", 32), 4 + len("e-1") + 10 + len(CONFIGURATION.token)) + 2
    with pytest.raises(NotOpened):
        hpke.open_request(wire[:enc_at] + bytes(32) + wire[enc_at + 32 :], KEYS, **NAMES)


@both_kems
def test_another_encoding_of_the_same_point_is_refused_so_no_replay_hides_behind_it(hybrid: bool) -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT, hybrid=hybrid)
    changed = bytearray(wire)
    changed[-len(PROMPT) - 16 - 1] ^= 0x80  # X25519 ignores the last bit of a public key (RFC 7748, 5)
    with pytest.raises(NotOpened):
        hpke.open_request(bytes(changed), KEYS, **NAMES)


def test_a_replay_is_recognised_and_a_second_request_is_not_taken_for_one() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT)
    again, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT)
    key, same, other = (hpke.open_request(each, KEYS, **NAMES)[2] for each in (wire, wire, again))
    assert key == same != other


def test_a_request_opened_twice_never_uses_a_key_twice() -> None:
    wire, _ = hpke.seal_request(CONFIGURATION, **NAMES, plaintext=PROMPT)
    first, second = (hpke.open_request(wire, KEYS, **NAMES)[1].seal(b"same", final=True) for _ in range(2))
    assert first[33:] != second[33:]


def test_names_beyond_their_length_field_are_refused_by_the_client() -> None:
    with pytest.raises(ValueError, match="65,535"):
        hpke.seal_request(CONFIGURATION, **{**NAMES, "pool": "p" * 65_536}, plaintext=PROMPT)


PIECES = st.lists(st.binary(max_size=200), min_size=1, max_size=6)


@given(PIECES, st.integers(1, 300))
def test_an_answer_opens_however_it_is_cut(pieces: list[bytes], step: int) -> None:
    sealer, opener = exchange(hybrid=False)
    wire = b"".join(sealer.seal(piece, final=at == len(pieces) - 1) for at, piece in enumerate(pieces))
    assert list(opened(opener, wire, step)) == pieces


def test_an_answer_cut_anywhere_is_broken_off() -> None:
    sealer, _ = exchange()
    wire = sealer.seal(b"Hello", final=False) + sealer.seal(b" world", final=True)
    for end in range(len(wire)):
        sealer, opener = exchange(hybrid=False)
        wire = sealer.seal(b"Hello", final=False) + sealer.seal(b" world", final=True)
        with pytest.raises(BrokenOff):
            list(opened(opener, wire[:end], 64))


def test_a_flipped_bit_anywhere_in_an_answer_never_passes() -> None:
    sealer, _ = exchange(hybrid=False)
    length = len(sealer.seal(b"Hello", final=False) + sealer.seal(b" world", final=True))
    for at in range(length):
        sealer, opener = exchange(hybrid=False)
        wire = bytearray(sealer.seal(b"Hello", final=False) + sealer.seal(b" world", final=True))
        wire[at] ^= 1 << at % 8
        # A length that grew makes its reader wait for bytes that never come.
        with pytest.raises((NotOpened, BrokenOff)):
            list(opened(opener, bytes(wire), 64))


def test_chunks_out_of_order_dropped_or_repeated_are_refused() -> None:
    for order in ([1, 0, 2], [0, 2], [0, 0, 1, 2], [0, 1, 1, 2]):
        sealer, opener = exchange(hybrid=False)
        head = sealer.seal(b"0", final=False)
        chunks = [head[33:], sealer.seal(b"1", final=False), sealer.seal(b"2", final=True)]
        with pytest.raises(NotOpened):
            list(opened(opener, head[:33] + b"".join(chunks[at] for at in order), 64))


def test_the_answer_to_another_request_is_refused() -> None:
    sealer, _ = exchange()
    _, opener = exchange()
    with pytest.raises(NotOpened):
        list(opener.feed(sealer.seal(b"Hello", final=True)))


def test_what_follows_the_final_piece_is_refused() -> None:
    sealer, opener = exchange()
    got = opener.feed(sealer.seal(b"Hello", final=True) + b"x")
    assert next(got) == b"Hello"
    with pytest.raises(NotOpened):
        opener.finish()
    with pytest.raises(NotOpened):
        next(got)


def test_an_opener_that_refused_goes_on_refusing() -> None:
    sealer, opener = exchange()
    wire = sealer.seal(b"Hello", final=False)
    for data in (wire[:-1] + bytes((wire[-1] ^ 1,)), sealer.seal(b" world", final=True)):
        with pytest.raises(NotOpened):
            list(opener.feed(data))
    with pytest.raises(BrokenOff):
        opener.finish()


def test_a_chunk_that_claims_too_much_is_refused_before_it_comes() -> None:
    _, opener = exchange()
    with pytest.raises(NotOpened):
        list(opener.feed(bytes((hpke.VERSION,)) + bytes(32) + struct.pack(">IBI", 2**32 - 1, 0, 0)))


def test_nothing_is_sealed_behind_the_final_piece() -> None:
    sealer, _ = exchange()
    sealer.seal(b"Hello", final=True)
    with pytest.raises(RuntimeError, match="no more pieces"):
        sealer.seal(b"", final=False)


def test_a_piece_that_no_opener_takes_is_not_sealed() -> None:
    sealer, opener = exchange()
    with pytest.raises(TooLong):
        sealer.seal(bytes(hpke.MOST_CHUNK_BYTES + 1), final=True)
    longest = bytes(hpke.MOST_CHUNK_BYTES)
    assert list(opener.feed(sealer.seal(longest, final=True))) == [longest]


def test_the_sequence_ends_before_a_nonce_could_come_twice() -> None:
    sealer, _ = exchange()
    sealer._sequence = 2**32 - 1  # four thousand million pieces later
    sealer.seal(b"the last", final=False)
    with pytest.raises(TooLong, match="pieces"):
        sealer.seal(b"one more", final=True)


def test_a_configuration_survives_json_and_keeps_its_fingerprint() -> None:
    text = CONFIGURATION.to_json()
    assert KeyConfiguration.parse(text) == CONFIGURATION
    spread = msgspec.json.format(text)
    assert KeyConfiguration.parse(spread).fingerprint() == CONFIGURATION.fingerprint()


@pytest.mark.parametrize("name", KeyConfiguration.__struct_fields__)
def test_the_fingerprint_covers_every_member(name: str) -> None:
    value = getattr(CONFIGURATION, name)
    other = value + 1 if isinstance(value, int) else value[::-1]
    assert msgspec.structs.replace(CONFIGURATION, **{name: other}).fingerprint() != CONFIGURATION.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": ""},
        {"epoch": "e" * 65},
        {"epoch": "e\n"},
        {"expires_ms": -1},
        {"token": ""},
        {"x25519": "AAAA"},
        {"xwing": "AAAA"},
        {"x25519": "not base64"},
        {"more": 1},
    ],
)
def test_a_configuration_of_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DocumentRefused):
        KeyConfiguration.parse(msgspec.json.encode({**msgspec.to_builtins(CONFIGURATION), **change}))


@pytest.mark.parametrize("seed", [b"", bytes(63), bytes(65)])
def test_a_seed_of_another_length_is_refused(seed: bytes) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        EpochKeys.derive(seed)
