"""Which enclaves the transport believes, how long, and what it does when one is replaced."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import cloister
from emulators.security_module import Authority, SimulatedSecurityModule
from sealed.hpke_keys import MOST_EPOCH_MS
from sealed.measurements import Release, sign_manifest
from tests.client.callers import ANSWER, MODES, Place, asked
from tests.client.gateways import PCR0, Json, now_ms

MINUTE_MS = 60_000


class Clock:
    """The client's."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms


def refused(place: Place, text: str | None, mode: str = "hpke", **changed: Any) -> None:
    with pytest.raises(cloister.DocumentRefused, match=text):
        asked(place.openai(mode, retries=2, **changed))
    assert place.gateway.attested == 1
    assert not place.gateway.sealed


def module(place: Place, **changed: Any) -> SimulatedSecurityModule:
    given: dict[str, Any] = {"authority": place.gateway.authority, "clock": now_ms}
    return SimulatedSecurityModule(**given | changed)


@pytest.mark.parametrize("mode", MODES)
def test_measurements_that_are_not_allowed_are_refused_in_every_mode(place: Place, mode: str) -> None:
    refused(place, "measurements are not allowed: PCR0=", mode, measurements=[{0: "ab" * 48}])


def test_every_pcr_that_is_named_must_fit(place: Place) -> None:
    refused(place, "measurements are not allowed", measurements=[{0: PCR0, 8: "ab" * 48}])


def test_one_allowed_enclave_of_several_is_enough(place: Place) -> None:
    assert asked(place.openai("hpke", measurements=[{0: "ab" * 48}, {0: PCR0}])) == ANSWER


def test_an_enclave_in_debug_mode_is_refused(place: Place) -> None:
    place.gateway.module = module(place, pcrs={0: bytes(48), 1: bytes(48), 2: bytes(48)})
    refused(place, "debug mode")
    place.gateway.seen.clear()
    refused(place, "debug mode", measurements=cloister.ANY_ENCLAVE)


def test_an_enclave_without_an_image_is_refused_where_any_is_trusted(place: Place) -> None:
    place.gateway.module = module(place, pcrs={0: bytes(48)})
    refused(place, "not allowed", measurements=cloister.ANY_ENCLAVE)


def test_a_document_of_another_root_is_refused(place: Place) -> None:
    place.gateway.module = module(place, authority=Authority.made(now_ms()))
    refused(place, "root")


def test_the_root_of_aws_is_what_is_trusted_by_default(place: Place) -> None:
    refused(place, "root", root=None)


@pytest.mark.parametrize(("age_ms", "text"), [(6 * MINUTE_MS, "older than 300 seconds"), (-2 * MINUTE_MS, "future")])
def test_a_stale_document_is_refused(place: Place, age_ms: int, text: str) -> None:
    place.gateway.module = module(place, clock=lambda: now_ms() - age_ms)
    refused(place, text)


def test_a_document_for_another_question_is_refused(place: Place) -> None:
    document = module(place).attest(nonce=b"another", user_data=place.gateway.configuration.fingerprint())
    place.gateway.tell = lambda told: told | {"document": base64.b64encode(document).decode()}
    refused(place, "nonce")


def test_a_flipped_bit_in_the_document_is_refused(place: Place) -> None:
    def tell(told: Json) -> Json:
        document = bytearray(base64.b64decode(told["document"]))
        document[len(document) // 2] ^= 1
        return told | {"document": base64.b64encode(document).decode()}

    place.gateway.tell = tell
    refused(place, None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("member", ["epoch", "expires_ms", "token", "x25519", "xwing"])
def test_a_key_configuration_that_was_changed_is_refused(place: Place, mode: str, member: str) -> None:
    def tell(told: Json) -> Json:
        value = told["configuration"][member]
        other = value + 1 if isinstance(value, int) else ("A" if value[0] != "A" else "B") + value[1:]
        return told | {"configuration": told["configuration"] | {member: other}}

    place.gateway.tell = tell
    refused(place, "does not vouch for this key configuration", mode)


def test_a_key_configuration_that_was_taken_away_is_refused(place: Place) -> None:
    place.gateway.tell = lambda told: told | {"configuration": None}
    refused(place, "does not vouch")


def test_a_key_configuration_that_has_expired_is_refused(place: Place) -> None:
    place.gateway.begin_epoch("e-0", -1)
    refused(place, "expired")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more_ms", [MINUTE_MS, MOST_EPOCH_MS, 2**52])
def test_a_key_configuration_that_would_outlast_every_epoch_is_refused(place: Place, mode: str, more_ms: int) -> None:
    """The enclave vouches for it, and no enclave of ours does: whoever makes the document decides what it says."""
    place.gateway.begin_epoch("e-0", MOST_EPOCH_MS + more_ms)
    refused(place, "more than 91 days", mode)


def test_the_longest_key_configuration_is_sealed_to(place: Place) -> None:
    place.gateway.begin_epoch("e-0", MOST_EPOCH_MS)
    assert asked(place.openai("hpke")) == ANSWER


@pytest.mark.parametrize("told", [b"", b"{}", b"<html>", b'{"document":"!"}', b'{"document":"","configuration":7}'])
def test_what_is_no_attestation_is_refused(place: Place, told: bytes) -> None:
    place.gateway.tell = lambda _: told
    with pytest.raises(cloister.SealError):
        asked(place.openai("hpke"))
    assert not place.gateway.sealed


def test_a_document_counts_for_minutes_and_is_then_asked_for_again(place: Place) -> None:
    clock = Clock()
    client = place.openai("esdk", now_ms=clock)
    assert asked(client) == asked(client) == ANSWER
    assert place.gateway.attested == 1
    clock.ahead_ms = 4 * MINUTE_MS
    assert asked(client) == ANSWER
    assert place.gateway.attested == 1
    clock.ahead_ms = 5 * MINUTE_MS
    place.gateway.module = module(place, clock=clock)
    assert asked(client) == ANSWER
    assert place.gateway.attested == 2


def test_another_key_is_asked_for_before_this_one_expires(place: Place) -> None:
    place.gateway.begin_epoch("e-1", MINUTE_MS)
    clock = Clock()
    client = place.openai("hpke", now_ms=clock)
    assert asked(client) == ANSWER
    clock.ahead_ms = MINUTE_MS // 2 + 1_000
    place.gateway.begin_epoch("e-2", 60 * MINUTE_MS)
    assert asked(client) == ANSWER
    assert [seen.headers["X-Seal-Mode"] for seen in place.gateway.sealed] == ["hpke", "hpke"]
    assert place.gateway.attested == 2


def test_a_key_that_was_replaced_early_costs_one_more_try(place: Place) -> None:
    client = place.openai("hpke")
    assert asked(client) == ANSWER
    place.gateway.begin_epoch("e-2", 60 * MINUTE_MS)
    assert asked(client) == ANSWER
    assert (place.gateway.attested, len(place.gateway.sealed)) == (2, 3)


def test_a_key_that_was_replaced_early_costs_asynchronous_callers_one_more_try(place: Place) -> None:
    async def ask() -> list[str]:
        async with place.async_openai("hpke") as client:
            said = []
            for epoch in ("e-2", "e-3"):
                place.gateway.begin_epoch(epoch, 60 * MINUTE_MS)
                answer = await client.completions.create(model="demo", prompt="a secret")
                said.append(answer.choices[0].text)
            return said

    assert asyncio.run(ask()) == ["a secret."] * 2
    assert len(place.gateway.sealed) == 3


def test_pools_are_trusted_one_by_one(place: Place) -> None:
    client = place.openai("hpke")
    for pool in ("demo", "demo", "other"):
        client.completions.create(model=pool, prompt="a secret")
    assert [seen.path.partition("pool=")[2] for seen in place.gateway.seen if "attestation" in seen.path] == [
        "demo",
        "other",
    ]


def test_a_signed_list_of_releases_says_which_enclaves_are_allowed(place: Place, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    manifest = tmp_path / "releases.json"
    manifest.write_bytes(sign_manifest([Release("1.0", {0: PCR0}, None)], now_ms(), key))
    public = key.public_key().public_bytes_raw()
    assert asked(place.openai("hpke", measurements=cloister.ReleaseManifest.at(manifest, public))) == ANSWER
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(cloister.ManifestRefused, match="not signed"):
        asked(place.openai("hpke", measurements=cloister.ReleaseManifest.at(manifest, other)))


def test_a_release_ends_while_the_client_runs(place: Place) -> None:
    key, clock = Ed25519PrivateKey.generate(), Clock()
    releases = [Release("1.0", {0: PCR0}, now_ms() + MINUTE_MS)]
    manifest = cloister.ReleaseManifest(sign_manifest(releases, now_ms(), key), key.public_key().public_bytes_raw())
    client = place.openai("hpke", measurements=manifest, now_ms=clock)
    assert asked(client) == ANSWER
    clock.ahead_ms = 5 * MINUTE_MS
    place.gateway.module = module(place, clock=clock)
    with pytest.raises(cloister.ManifestRefused, match="No release"):
        asked(client)


@pytest.mark.parametrize("measurements", [None, []])
def test_nothing_starts_without_measurements(place: Place, measurements: Any) -> None:
    with pytest.raises(cloister.NotConfigured, match="Say which enclave you trust"):
        place.openai("esdk", measurements=measurements)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"mode": "rot13"}, cloister.NotConfigured, "no mode 'rot13'"),
        ({"kms_key_arn": None}, cloister.NotConfigured, "full ARN as kms_key_arn"),
        ({"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:alias/mine"}, cloister.BadArn, "alias"),
        ({"root": b"not PEM"}, cloister.NotConfigured, "not one certificate in PEM"),
        ({"root": "/nowhere.pem"}, cloister.NotConfigured, "No such file"),
        ({"measurements": {0: PCR0}}, cloister.NotConfigured, "as a list"),
        ({"measurements": PCR0}, cloister.NotConfigured, "as a list"),
        ({"measurements": [{1: PCR0}]}, cloister.ManifestRefused, "PCR0"),
        ({"measurements": [{0: PCR0[:-1]}]}, cloister.ManifestRefused, "96 lower-case"),
    ],
)
def test_what_is_set_up_wrongly_is_said_at_once(
    place: Place, changed: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        cloister.SealedTransport(**place.sealing("esdk") | changed)
