"""`cloister audit verify`, against a served gateway on DynamoDB whose days are signed by a key in KMS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from chalicelib import wiring
from chalicelib.journal import log_of
from chalicelib.ledger.chain import DAY_MS
from chalicelib.ledger.notary import SETTLED_MS, CannotSign, Notary
from chalicelib.ledger.signature import KmsSignature
from chalicelib.privacy.eraser import SETTLING_MS, Eraser
from chalicelib.privacy.items import Items
from chalicelib.privacy.records import Erasures
from chalicelib.settings import Settings
from cloister.cli.__main__ import main
from tests.emulators.kms.served import Served as Kms
from tests.engines.servers import serving, whole
from tests.small_deployments import T0, Deployment, Gateway, dynamodb, front, served
from tests.stores import REGION, Served, fresh_tables

DAY, NEXT = "2026-11-18", "2026-11-19"


class Audited:
    """The tenant `acme` after three requests on a day, its signed day, its auditor, and somebody at its table."""

    def __init__(self, stores: Served, public_key: Path) -> None:
        self.tables = fresh_tables(stores.url("local"))
        self.deployment = Deployment(dynamodb(self.tables))
        self.deployment.pool()
        self.deployment.tenant()
        self.key = self.deployment.key()
        self.path = self.deployment.path()
        self.request(3)
        self.public_key = public_key

    def request(self, count: int) -> None:
        for _ in range(count):
            self.deployment.clock.now_ms += 1_000
            self.deployment.ask(self.path, self.key)

    def sign(self, sign: Any) -> int:
        store = self.deployment.store
        return Notary(store.ledger, store.heads, sign).sign_due(["acme", log_of("acme")], T0 + DAY_MS + SETTLED_MS)

    def changes_something(self, gateway: Gateway) -> str:
        """The id of the event's second half."""
        answer = gateway.call("PUT", "/tenants/acme/members/ada", key=self.key, json={"role": "viewer"})
        assert answer.status == 200, answer.body
        kept, _ = self.deployment.store.ledger.kept(log_of("acme"), T0, T0 + DAY_MS, None, 1)
        return kept[0].lease_id

    def leases(self) -> list[str]:
        """By time."""
        page = self.deployment.store.ledger.page("acme", T0, T0 + DAY_MS, None, 100)
        return [entry.lease_id for entry in reversed(page.entries)]

    def kept(self) -> list[str]:
        """Those of erased ones, too."""
        page = self.deployment.store.ledger.kept("acme", T0, T0 + DAY_MS, None, 100)
        return [kept.lease_id for kept in reversed(page.kept)]

    def eraser(self) -> Eraser:
        items = {REGION: Items(self.tables)}
        erasures = Erasures(self.deployment.store.documents)
        return Eraser(items, erasures, self.deployment.tenancy.closing.close, self.deployment.clock)

    def change(self, lease_id: str, update: str, log: str = "acme", **values: Any) -> None:
        names: dict[str, Any] = {"ExpressionAttributeNames": {"#hash": "hash"}} if "#hash" in update else {}
        self.tables.call(
            "UpdateItem",
            TableName=self.tables.ledger,
            Key={"pk": {"S": log}, "sk": {"S": lease_id}},
            UpdateExpression=update,
            **names,
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
        )

    def remove(self, lease_id: str) -> None:
        key = {"pk": {"S": "acme"}, "sk": {"S": lease_id}}
        self.tables.call("DeleteItem", TableName=self.tables.ledger, Key=key)


@pytest.fixture(scope="module")
def kms_key(kms: Kms) -> str:
    return kms.key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")


@pytest.fixture
def signature(kms: Kms, kms_key: str, monkeypatch: pytest.MonkeyPatch) -> KmsSignature:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", kms.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", kms.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not looked at by this KMS")
    return KmsSignature(Settings(audit_key=kms_key, store_deadline_ms=10_000))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with served(front()) as gateway:
        yield gateway


@pytest.fixture
def audited(
    stores: Served, gateway: Gateway, kms: Kms, kms_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Audited]:
    public = load_der_public_key(kms.kms.get_public_key(KeyId=kms_key)["PublicKey"])
    pem = tmp_path / "audit.pem"
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    audited = Audited(stores, pem)
    with wiring.opening_into(audited.deployment.rooms()):
        monkeypatch.setenv("CLOISTER_BASE_URL", f"http://{gateway.host}:{gateway.port}")
        monkeypatch.setenv("CLOISTER_TENANT", "acme")
        monkeypatch.setenv("CLOISTER_API_KEY", audited.key)
        yield audited


def verify(audited: Audited, *flags: str) -> int:
    return main(["audit", "verify", "--from", DAY, "--public-key", str(audited.public_key), *flags])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What the command has printed; not the lines of the gateway, which runs in the same process."""
    return "".join(line for line in capsys.readouterr().out.splitlines(True) if not line.startswith('{"_aws"'))


def test_a_signed_day_verifies(audited: Audited, signature: KmsSignature, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited.sign(signature) == 1
    assert verify(audited, "--to", NEXT) == 0
    first, second = told(capsys).splitlines()
    assert first.startswith(f"{DAY}  3 entries: 3 signed, 0 unsigned, 0 unchained; head ")
    assert second == f"{NEXT}  0 entries: 0 signed, 0 unsigned, 0 unchained; no head"


def test_the_log_of_changes_verifies_as_the_ledger_does(
    audited: Audited, gateway: Gateway, signature: KmsSignature, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = audited.changes_something(gateway)
    assert audited.sign(signature) == 2
    assert verify(audited, "--log", "events") == verify(audited) == 0
    assert told(capsys).startswith(f"{DAY}  2 entries: 2 signed, 0 unsigned, 0 unchained; head ")
    audited.change(ended, "SET doc = :doc", log_of("acme"), doc={"S": "{}"})
    assert verify(audited, "--log", "events") == 1
    assert f"  changed: {ended}. " in told(capsys)


def test_what_was_erased_is_told_and_the_rest_still_verifies(
    audited: Audited,
    gateway: Gateway,
    signature: KmsSignature,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audited.sign(signature)
    answer = gateway.call("DELETE", "/tenants/acme/data?confirm=acme", key=audited.key)
    assert answer.status == 202, answer.body
    audited.deployment.clock.now_ms += SETTLING_MS
    assert audited.eraser().run(T0 + DAY_MS) == 1
    monkeypatch.setenv("CLOISTER_API_KEY", answer.json["api_key"])
    assert verify(audited) == verify(audited, "--log", "events") == 0
    requests, events = told(capsys).splitlines()
    assert requests.startswith(f"{DAY}  3 entries: 3 signed, 0 unsigned, 0 unchained, 3 erased; head ")
    assert events == f"{DAY}  2 entries: 0 signed, 2 unsigned, 0 unchained, 2 erased; no head"
    audited.change(audited.kept()[1], "SET #hash = :hash", hash={"B": "QUJD" * 10 + "QUI="})
    assert verify(audited) == 1
    assert "  changed: " in told(capsys)


def test_a_day_that_is_not_signed_yet_is_told_so(audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(audited) == 0
    assert told(capsys) == f"{DAY}  3 entries: 0 signed, 3 unsigned, 0 unchained; no head\n"


def test_the_first_entry_that_was_changed_or_removed_is_named(
    audited: Audited, signature: KmsSignature, capsys: pytest.CaptureFixture[str]
) -> None:
    audited.sign(signature)
    first, second, third = audited.leases()
    audited.change(third, "SET doc = :doc", doc={"S": "{}"})
    assert verify(audited) == 1
    assert f"  changed: {third}. " in told(capsys)
    audited.remove(second)
    assert verify(audited) == 1
    said = told(capsys)
    assert f"  removed: {first}. " in said and "1 more finding" in said


def test_json_tells_all_findings(audited: Audited, signature: KmsSignature, capsys: pytest.CaptureFixture[str]) -> None:
    audited.sign(signature)
    for lease_id in audited.leases():
        audited.remove(lease_id)
    assert verify(audited, "--json") == 1
    (day,) = map(json.loads, told(capsys).splitlines())
    assert [finding["kind"] for finding in day["findings"]] == ["removed"]


def test_late_usage_and_later_entries_are_no_findings(
    audited: Audited, signature: KmsSignature, capsys: pytest.CaptureFixture[str]
) -> None:
    audited.sign(signature)
    audited.change(audited.leases()[0], "SET late = :late", late={"S": '{"tokens":1}'})
    audited.request(2)
    assert verify(audited) == 0
    assert "5 entries: 3 signed, 2 unsigned" in told(capsys)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--to", "2026-11-17"), "swap them"),
        (("--public-key", "/nowhere"), "no public key"),
        (("--api-key", "ck_wrong"), "401"),
    ],
)
def test_what_cannot_be_verified_says_why(
    audited: Audited, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    assert verify(audited, *flags) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_day_is_told_how_one_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["audit", "verify", "--from", "yesterday", "--public-key", "audit.pem"])
    assert "'yesterday' is no day, as 2026-11-01 is" in capsys.readouterr().err


def test_a_key_that_may_not_sign_says_so_to_operators(signature: KmsSignature, kms: Kms) -> None:
    other = KmsSignature(Settings(audit_key=kms.key(), store_deadline_ms=10_000))
    with pytest.raises(CannotSign, match="CLOISTER_AUDIT_KEY"):
        other(bytes(32))


@pytest.mark.parametrize("page", [b"<html>", b"{}", b'{"entries": [{}], "heads": [{}], "cursor": null}', b"[]"])
def test_an_answer_that_is_no_page_is_no_finding(
    audited: Audited, page: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda _, wire: wire.send(whole(page))) as proxy:
        monkeypatch.setenv("CLOISTER_BASE_URL", proxy.root)
        assert verify(audited) == 2
    assert "no page of the ledger" in capsys.readouterr().err
