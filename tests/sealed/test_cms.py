"""KMS's envelopes: the two that KMS made (nobody has their keys any more), OpenSSL's, and ours."""

import datetime
import functools
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sealed.cms import Envelope, open_envelope, parse, seal_envelope
from sealed.refusal import EnvelopeRefused

REAL = Path(__file__).parents[2] / "vectors" / "cms"
CONSTRUCTED = (REAL / "kms_envelope_constructed_content.ber").read_bytes()
PRIMITIVE = (REAL / "kms_envelope_primitive_content.ber").read_bytes()

ENVELOPED_DATA, DATA = bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("06092a864886f70d010701")
VERSION = b"\x02\x01\x02"
AES_256_CBC, AES_128_CBC = bytes.fromhex("060960864801650304012a"), bytes.fromhex("0609608648016503040102")
OAEP_SHA256 = CONSTRUCTED[65:127]
OAEP_SHA1 = bytes.fromhex("300d06092a864886f70d0101073000")
PKCS1 = bytes.fromhex("300d06092a864886f70d0101010500")
LABELLED = (
    OAEP_SHA256[:1]
    + b"\x4f"
    + OAEP_SHA256[2:13]
    + b"\x30\x42"
    + OAEP_SHA256[15:]
    + bytes.fromhex("a211300f06092a864886f70d0101090402abcd")
)


@functools.cache
def key() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def other_key() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def definite(tag: int, content: bytes) -> bytes:
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


def indefinite(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x80]) + content + b"\0\0"


def recipient_info(
    *,
    version: bytes = VERSION,
    name: bytes = definite(0x80, bytes(32)),
    algorithm: bytes = OAEP_SHA256,
    wrapped_key: bytes = definite(0x04, bytes(256)),
) -> bytes:
    return definite(0x30, version + name + algorithm + wrapped_key)


def envelope(
    *,
    kind: bytes = ENVELOPED_DATA,
    version: bytes = VERSION,
    recipients: bytes = recipient_info(),
    content_kind: bytes = DATA,
    cipher: bytes = AES_256_CBC,
    iv: bytes = definite(0x04, bytes(16)),
    content: bytes = definite(0x80, bytes(16)),
    attributes: bytes = b"",
) -> bytes:
    """An envelope in KMS's shape, but for what is named."""
    encrypted = indefinite(0x30, content_kind + definite(0x30, cipher + iv) + content)
    enveloped = indefinite(0x30, version + definite(0x31, recipients) + encrypted + attributes)
    return indefinite(0x30, kind + indefinite(0xA0, enveloped))


def shape(ber: bytes) -> bytes:
    """What is left of an envelope when all that differs from one to the next is blanked."""
    read = parse(ber)
    for part in (read.recipient, read.wrapped_key, read.iv, read.content):
        ber = ber.replace(part, bytes(len(part)))
    return ber


def refused(ber: bytes, with_key: RSAPrivateKey | None = None) -> None:
    with pytest.raises(EnvelopeRefused) as refusal:
        open_envelope(ber, with_key or key())
    assert refusal.value.text == "The envelope could not be opened."


# What KMS made.


def test_an_envelope_of_kms_with_its_content_in_pieces_is_taken_apart() -> None:
    assert parse(CONSTRUCTED) == Envelope(
        recipient=CONSTRUCTED[33:65],
        wrapped_key=CONSTRUCTED[131:387],
        iv=bytes.fromhex("688c6d5f7f31b0fecedf09f2e7c99ac9"),
        content=CONSTRUCTED[435:483],
    )


def test_an_envelope_of_kms_with_its_content_in_one_is_taken_apart() -> None:
    assert parse(PRIMITIVE) == Envelope(
        recipient=PRIMITIVE[33:65],
        wrapped_key=PRIMITIVE[131:387],
        iv=bytes.fromhex("e66c1172aee0f2f7be34e3afc6b0e4fe"),
        content=PRIMITIVE[433:449],
    )


@pytest.mark.parametrize("ber", [CONSTRUCTED, PRIMITIVE], ids=["constructed", "primitive"])
def test_an_envelope_for_somebody_else_is_refused(ber: bytes) -> None:
    refused(ber)


def test_ours_are_byte_for_byte_of_the_shape_of_kms() -> None:
    assert shape(seal_envelope(bytes(40), key().public_key())) == shape(CONSTRUCTED)
    assert shape(seal_envelope(bytes(8), key().public_key(), constructed=False)) == shape(PRIMITIVE)


# Ours, and OpenSSL's.


@pytest.mark.parametrize("constructed", [True, False])
@pytest.mark.parametrize("length", [0, 1, 15, 16, 32, 64, 4096, 60_000])
def test_what_was_sealed_is_opened(length: int, constructed: bool) -> None:
    plaintext = bytes(index % 251 for index in range(length))
    ber = seal_envelope(plaintext, key().public_key(), constructed=constructed)
    assert open_envelope(ber, key()) == plaintext


@pytest.mark.parametrize("bits", [3072, 4096])
def test_larger_keys_will_do(bits: int) -> None:
    larger = rsa.generate_private_key(65537, bits)
    assert open_envelope(seal_envelope(b"seed", larger.public_key()), larger) == b"seed"


@pytest.mark.parametrize("length", [0, 5, 4000, 9000])
def test_what_openssl_sealed_is_opened(length: int, openssl_key: Path) -> None:
    plaintext = bytes(length)
    ber = openssl(
        *("-encrypt", "-stream", "-binary", "-outform", "DER", "-aes-256-cbc", "-keyid", "-recip", openssl_key),
        *("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256"),
        given=plaintext,
    )
    assert open_envelope(ber, key()) == plaintext


@pytest.mark.parametrize("constructed", [True, False])
def test_openssl_opens_what_was_sealed(constructed: bool, openssl_key: Path) -> None:
    ber = seal_envelope(b"for an enclave", key().public_key(), constructed=constructed)
    assert openssl("-decrypt", "-binary", "-inform", "DER", "-recip", openssl_key, given=ber) == b"for an enclave"


@pytest.fixture(scope="module")
def openssl_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key, with a certificate that names it as envelopes do."""
    public = key().public_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "enclave")])
    today = datetime.datetime.now(datetime.UTC)
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier(hashlib.sha256(spki).digest()), critical=False)
        .sign(key(), hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("openssl") / "enclave.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM) + key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def openssl(*arguments: str | Path, given: bytes) -> bytes:
    return subprocess.run(["openssl", "cms", *arguments], input=given, capture_output=True, check=True).stdout


# Its shape.


def test_the_builder_of_these_tests_builds_what_kms_does() -> None:
    pieces = indefinite(0xA0, definite(0x04, bytes(48)))
    assert envelope(content=pieces) == shape(CONSTRUCTED)
    assert envelope() == shape(PRIMITIVE)


def test_content_in_several_pieces_is_put_together() -> None:
    pieces = definite(0x04, b"a" * 10) + definite(0x04, b"") + definite(0x04, b"b" * 22)
    assert parse(envelope(content=indefinite(0xA0, pieces))).content == b"a" * 10 + b"b" * 22


def test_definite_lengths_are_read_too() -> None:
    encrypted = definite(
        0x30, DATA + definite(0x30, AES_256_CBC + definite(0x04, bytes(16))) + definite(0x80, b"a" * 32)
    )
    enveloped = definite(0x30, VERSION + definite(0x31, recipient_info()) + encrypted)
    assert parse(definite(0x30, ENVELOPED_DATA + definite(0xA0, enveloped))).content == b"a" * 32


BAD = {
    "empty": b"",
    "of another kind": envelope(kind=DATA),
    "version 0": envelope(version=b"\x02\x01\x00"),
    "version 3": envelope(version=b"\x02\x01\x03"),
    "version in two bytes": envelope(version=b"\x02\x02\x00\x02"),
    "no recipient": envelope(recipients=b""),
    "two recipients": envelope(recipients=recipient_info() * 2),
    "recipient of version 0": envelope(recipients=recipient_info(version=b"\x02\x01\x00")),
    "recipient by issuer and serial": envelope(recipients=recipient_info(name=definite(0x30, bytes(32)))),
    "recipient by 20 bytes": envelope(recipients=recipient_info(name=definite(0x80, bytes(20)))),
    "recipient with more": envelope(recipients=recipient_info(wrapped_key=definite(0x04, bytes(256)) + b"\5\0")),
    "PKCS #1 v1.5": envelope(recipients=recipient_info(algorithm=PKCS1)),
    "OAEP with SHA-1": envelope(recipients=recipient_info(algorithm=OAEP_SHA1)),
    "OAEP with a label": envelope(recipients=recipient_info(algorithm=LABELLED)),
    "originator": envelope(version=VERSION + indefinite(0xA0, b"")),
    "content of another kind": envelope(content_kind=ENVELOPED_DATA),
    "AES-128": envelope(cipher=AES_128_CBC),
    "initial vector of 8 bytes": envelope(iv=definite(0x04, bytes(8))),
    "initial vector of 17 bytes": envelope(iv=definite(0x04, bytes(17))),
    "no initial vector": envelope(iv=b""),
    "no content": envelope(content=b""),
    "empty content": envelope(content=definite(0x80, b"")),
    "content in no pieces": envelope(content=indefinite(0xA0, b"")),
    "content of 17 bytes": envelope(content=definite(0x80, bytes(17))),
    "content of content": envelope(content=indefinite(0xA0, indefinite(0x24, definite(0x04, bytes(16))))),
    "primitive of indefinite length": envelope(content=b"\x80\x80" + bytes(18)),
    "content twice": envelope(content=definite(0x80, bytes(16)) * 2),
    "unprotected attributes": envelope(attributes=indefinite(0xA1, b"")),
    "more bytes": envelope() + b"\0",
    "another envelope": envelope() * 2,
    "a byte too few": envelope()[:-1],
    "piece longer than the whole": envelope(content=b"\x80\x84\xff\xff\xff\xff" + bytes(16)),
    "length of 126 bytes": envelope(content=b"\x80\xfe" + b"\xff" * 126 + bytes(16)),
    "reserved length": envelope(content=b"\x80\xff" + bytes(16)),
    "inner longer than outer": envelope(recipients=b"\x30\x82\x01\x70" + recipient_info()[4:]),
    "larger than 64 KiB": envelope(content=definite(0x80, bytes(65_520))),
}


@pytest.mark.parametrize("ber", BAD.values(), ids=BAD)
def test_an_envelope_of_another_shape_is_refused(ber: bytes) -> None:
    with pytest.raises(EnvelopeRefused):
        parse(ber)


def test_an_envelope_cut_off_anywhere_is_refused() -> None:
    for length in range(len(CONSTRUCTED)):
        with pytest.raises(EnvelopeRefused):
            parse(CONSTRUCTED[:length])


# Its secrets.


def test_a_flipped_bit_is_refused_wherever_it_can_be_seen() -> None:
    """Nothing authenticates content and initial vector: flipped there, another plaintext may come out, never the same.
    And the recipient's name is not looked at. TLS guards all of it."""
    plaintext = bytes(range(40))
    ber = seal_envelope(plaintext, key().public_key())
    read = parse(ber)
    names = range(33, 33 + len(read.recipient))
    unseen = {*names, *range(415, 431), *range(435, 435 + len(read.content))}
    assert ber[415:431] == read.iv
    assert ber[435 : 435 + len(read.content)] == read.content
    for index in range(len(ber)):
        flipped = bytearray(ber)
        flipped[index] ^= 1 << index % 8
        try:
            opened = open_envelope(bytes(flipped), key())
        except EnvelopeRefused:
            assert index not in names
        else:
            assert index in unseen
            assert (opened == plaintext) == (index in names)


def test_a_wrong_key_is_refused_even_when_chance_makes_the_padding_fit() -> None:
    # One random key in 256 leaves a padding that looks right.
    ber = seal_envelope(b"secret", key().public_key())
    for _ in range(1500):
        refused(ber, other_key())


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33, 64])
def test_a_content_key_of_another_size_is_refused(length: int) -> None:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)
    ber = seal_envelope(b"secret", key().public_key())
    refused(ber.replace(parse(ber).wrapped_key, key().public_key().encrypt(bytes(length), oaep)))


@pytest.mark.parametrize(
    "scheme",
    [padding.PKCS1v15(), padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA256(), label=None)],
    ids=["PKCS #1 v1.5", "MGF1 with SHA-1"],
)
def test_a_key_wrapped_by_another_scheme_is_refused(scheme: padding.AsymmetricPadding) -> None:
    ber = seal_envelope(b"secret", key().public_key())
    refused(ber.replace(parse(ber).wrapped_key, key().public_key().encrypt(bytes(32), scheme)))


def test_a_wrapped_key_of_another_size_than_the_key_is_refused() -> None:
    refused(envelope(recipients=recipient_info(wrapped_key=definite(0x04, b""))))
    refused(envelope(recipients=recipient_info(wrapped_key=definite(0x04, bytes(384)))))
