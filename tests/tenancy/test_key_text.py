"""API keys as text."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.tenancy.key_text import digest_of, mint, parse
from chalicelib.tenancy.tenant import TenantId

tenants = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
randomness = st.binary(min_size=37, max_size=37)


@given(tenants, randomness)
def test_every_minted_key_is_taken_apart_again(tenant: str, chance: bytes) -> None:
    token = mint(tenant, chance)
    assert parse(token.text) == token
    assert token.tenant == tenant
    assert token.key_id.startswith(f"{tenant}.")


@given(tenants, randomness, randomness)
def test_a_secret_matches_its_own_digest_alone(tenant: str, one: bytes, other: bytes) -> None:
    token = mint(tenant, one)
    assert token.matches(digest_of(token.secret))
    assert token.matches(digest_of(mint(tenant, other).secret)) == (one[5:] == other[5:])


@given(st.text() | st.from_regex(r"ck_.*"))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    token = parse(text)
    assert token is None or token.text == text


@given(tenants, randomness, st.data())
def test_no_changed_character_goes_unnoticed(tenant: str, chance: bytes, data: st.DataObject) -> None:
    token = mint(tenant, chance)
    place = data.draw(st.integers(0, len(token.text) - 1))
    letter = data.draw(st.characters().filter(lambda letter: letter != token.text[place]))
    changed = parse(token.text[:place] + letter + token.text[place + 1 :])
    assert changed is None or changed.key_id != token.key_id or not changed.matches(digest_of(token.secret))


@given(tenants, randomness)
def test_the_secret_has_256_bits_and_the_name_gives_none_of_them_away(tenant: str, chance: bytes) -> None:
    renamed = mint(tenant, bytes(5) + chance[5:])
    assert renamed.secret == mint(tenant, chance).secret
    assert len(renamed.secret) == 43


@given(tenants, randomness)
def test_a_key_is_drawn_without_its_secret(tenant: str, chance: bytes) -> None:
    token = mint(tenant, chance)
    assert token.secret not in repr(token)
    assert token.secret not in f"{token}"


def test_what_is_stored_is_a_plain_sha_256() -> None:
    assert digest_of("secret") == hashlib.sha256(b"secret").hexdigest()


def test_a_key_with_a_newline_at_its_end_is_none() -> None:
    assert parse(mint("acme", bytes(37)).text + "\n") is None


def test_every_tenant_id_fits_into_a_key() -> None:
    """The two patterns are written down twice; the tenant's must be within the key's."""
    assert str(TenantId.__metadata__[0].pattern) == r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$(?!\n)"  # type: ignore[attr-defined]
    assert parse(mint("a" * 40, bytes(37)).text) is not None
