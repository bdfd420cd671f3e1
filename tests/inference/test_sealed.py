"""A sealed request on the path: which key may open it, that it comes once, and who pays for what cannot be opened."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chalicelib.admission.limits import Limits, Rate
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import ScriptedEngine, Step
from chalicelib.identity import ENCRYPTING_PROVES_NOTHING, ApiKey, KeyHolder
from chalicelib.inference import Answer, Ask, Path, run
from chalicelib.inference.plan import KMS_BLOB_BYTES, SealedRequest
from chalicelib.ledger import Entry
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import EngineFailed, Malformed, NoCapacity, NotOpened, Refusal, TooLarge, Unauthenticated
from chalicelib.settings import Settings
from chalicelib.tenancy import Change
from chalicelib.tenancy.tenant import RegisteredKey, Sealing
from chalicelib.tickets import Tickets
from chalicelib.tickets.secret import TicketKey
from sealed import ticket as tickets
from sealed.ticket import Claims
from tests.small_deployments import T0, TICKET_KEY, Deployment

KEY = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-4111-8111-111111111111"
OTHER = "arn:aws:kms:us-east-1:111122223333:key/22222222-2222-4222-8222-222222222222"
FIVE = Limits(rates=(Rate("minute", "requests", 5, 60_000, 5),), budgets=(), in_flight=4)
BLOB = bytes(range(250))


def opened(_target: Target, _call: Call) -> Iterable[Step]:
    return (Started("i-1"), Delta(b"sealed answer", 3), Finished(Usage(11, 3)))


class Acme:
    """A deployment with one tenant that has one registered key, and a pool with an enclave before it."""

    def __init__(
        self, script: Any = opened, *, auth: Any = "api_key", status: Any = "active", check: bytes | Refusal = b"{}"
    ) -> None:
        self.asked: list[bytes] = []
        self.called: list[Call] = []

        def noted(target: Target, call: Call) -> Iterable[Step]:
            self.called.append(call)
            return script(target, call)  # type: ignore[no-any-return]

        def told(_target: Target, question: bytes) -> bytes | Refusal:
            self.asked.append(question)
            return check

        self.deployment = Deployment(engine=ScriptedEngine(noted, consult=told))
        targets = (Scripted("a", url="a"), Scripted("b", url="b", weight=0))
        self.deployment.tenancy.put_pool(Pool("model-a", targets, sealed=True))
        self.deployment.tenancy.put_pool(Pool("clear", targets))
        sealing = Sealing(auth=auth, keys=(RegisteredKey(KEY, T0),))
        self.deployment.tenant("acme", limits=FIVE, pools=("model-a", "clear"), status=status, sealing=sealing)
        self.key: str | None = self.deployment.key("acme")
        self.path: Path = self.deployment.path()

    def run(self, mode: Any = "kms", body: bytes = BLOB, arn: str | None = None, **more: Any) -> Answer:
        key = more.pop("credential", self.key)
        fields: dict[str, Any] = {
            "credential": ApiKey(key) if key else None if mode == "hpke" else KeyHolder(arn, mode),
            "tenant": "acme",
            "surface": "native",
            "operation": "chat.completions",
            "pool": "model-a",
            "fields": {},
            "request_id": "req-1",
            "max_tokens": 100,
            "sealed": SealedRequest(mode, arn, body),
        }
        return run(Ask(**{**fields, **more}), self.path)

    def answered(self, *arguments: Any, **more: Any) -> bytes:
        with self.run(*arguments, **more) as answer:
            return b"".join(event.data for event in answer if isinstance(event, Delta))

    def entries(self) -> tuple[Entry, ...]:
        return self.deployment.store.ledger.page("acme", 0, T0 * 2, None, 100).entries

    def left(self) -> int:
        """How many requests the rate still admits."""
        meter = self.deployment.store.meters.reading("acme")
        assert meter is not None
        return sum(self._admits() for _ in range(6))

    def _admits(self) -> bool:
        try:
            self.deployment.ask(self.path, self.deployment.key("acme"), pool="clear")
        except Refusal:
            return False
        return True


def split(question: bytes) -> tuple[Claims, bytes]:
    size = int.from_bytes(question[:2])
    ticket, body = question[2 : 2 + size], question[2 + size :]
    key = Ed25519PrivateKey.from_private_bytes(TICKET_KEY).public_key()
    return tickets.verify(ticket, body, {tickets.kid_of(key): key}, T0), body


def test_the_container_gets_the_ciphertext_and_a_ticket_that_says_what_was_admitted() -> None:
    acme = Acme()
    assert acme.answered(stream=False) == b"sealed answer"
    (call,) = acme.called
    claims, body = split(call.sealed)
    assert body == BLOB
    assert (claims.use, claims.tenant, claims.mode, claims.key_arn) == ("run", "acme", "kms", KEY)
    assert (claims.request_id, claims.pool, claims.surface, claims.stream) == ("req-1", "model-a", "native", False)
    assert (claims.operation, claims.ceiling_tokens) == ("chat.completions", 100)
    (entry,) = acme.entries()
    assert (entry.outcome, entry.sealed, entry.charged.tokens) == ("completed", "kms", 14)


def test_a_ceiling_over_the_pools_most_is_lowered_before_the_ticket_permits_it() -> None:
    acme = Acme()
    assert acme.answered(stream=False, max_tokens=1_000_000) == b"sealed answer"
    claims, _ = split(acme.called[0].sealed)
    assert claims.ceiling_tokens == acme.deployment.tenancy.pool("model-a").max_tokens


def test_a_request_is_opened_for_the_name_that_it_was_sealed_for_and_counted_for_the_pool() -> None:
    acme = Acme()
    acme.deployment.tenancy.change_tenant("acme", Change(aliases={"gpt-4o": "model-a"}))
    assert acme.answered("hpke", pool="gpt-4o") == b"sealed answer"
    claims, _ = split(acme.called[0].sealed)
    assert (claims.pool, acme.called[0].pool, acme.entries()[0].pool) == ("gpt-4o", "model-a", "model-a")


def test_of_what_cannot_be_read_the_whole_length_is_reserved() -> None:
    acme = Acme()
    with acme.run() as answer:
        assert answer.lease.reserved.tokens == -(-len(BLOB) // 3) + 100


@pytest.mark.parametrize("mode", ["kms", "esdk"])
def test_only_a_registered_key_opens_a_request(mode: str) -> None:
    acme = Acme()
    assert acme.answered(mode, arn=KEY)
    for arn in (OTHER, KEY.replace("us-east-1", "us-west-2"), "alias/mine", "", KEY + " "):
        with pytest.raises(NotOpened):
            acme.run(mode, body=b"another", arn=arn, request_id="req-2")
    assert len(acme.called) == 1


def test_with_several_keys_the_request_must_name_one() -> None:
    acme = Acme()
    keys = (RegisteredKey(KEY, T0), RegisteredKey(OTHER, T0))
    acme.deployment.tenant("two", sealing=Sealing(keys=keys))
    key = acme.deployment.key("two")
    with pytest.raises(Malformed, match="X-KMS-Key-ID"):
        acme.run(credential=key, tenant="two")
    assert acme.answered(credential=key, tenant="two", arn=OTHER)


def test_hpke_needs_no_key_of_the_tenant() -> None:
    acme = Acme()
    acme.deployment.tenant("keyless")
    assert acme.answered("hpke", credential=acme.deployment.key("keyless"), tenant="keyless")
    assert split(acme.called[0].sealed)[0].key_arn == ""


@pytest.mark.parametrize(("mode", "again"), [("kms", {"request_id": "req-2"}), ("esdk", {"body": b"x"}), ("hpke", {})])
def test_a_request_that_comes_again_is_refused_at_every_gateway_and_not_run(mode: str, again: dict[str, Any]) -> None:
    acme = Acme()
    assert acme.answered(mode)
    for _ in range(2):
        with pytest.raises(NotOpened):
            acme.run(mode, **again)
        acme.path = acme.deployment.path()
    assert len(acme.called) == 1


def test_no_idempotency_key_stands_for_a_sealed_request() -> None:
    acme = Acme()
    names = {"kms": f"sealed kms {hashlib.sha256(BLOB).hexdigest()}", "esdk": "sealed esdk req-1"}
    for mode, name in names.items():
        clear = {"sealed": None, "pool": "clear", "request_id": "clear", "idempotency_key": name}
        assert acme.answered(mode, **clear)
        assert acme.answered(mode)


def test_another_tenants_request_is_no_replay() -> None:
    acme = Acme()
    acme.deployment.tenant("other", sealing=Sealing(keys=(RegisteredKey(OTHER, T0),)))
    assert acme.answered()
    assert acme.answered(credential=acme.deployment.key("other"), tenant="other")


def test_a_pool_without_an_enclave_takes_nothing_sealed() -> None:
    acme = Acme()
    with pytest.raises(Malformed):
        acme.run(pool="clear")
    assert not acme.called


def test_more_than_kms_opens_is_refused_with_the_modes_that_carry_it() -> None:
    acme = Acme()
    assert acme.answered(body=bytes(KMS_BLOB_BYTES))
    with pytest.raises(TooLarge, match="esdk or hpke"):
        acme.run(body=bytes(KMS_BLOB_BYTES + 1))
    assert acme.answered("esdk", body=bytes(KMS_BLOB_BYTES + 1))


def test_what_the_enclave_cannot_open_is_charged_nothing() -> None:
    acme = Acme(lambda _target, _call: (NotOpened(),))
    with pytest.raises(NotOpened):
        acme.run()
    (entry,) = acme.entries()
    assert (entry.outcome, entry.reason, entry.charged.tokens) == ("failed", "NotOpened", 0)


def test_a_target_that_broke_after_opening_is_not_mistaken_for_a_replay() -> None:
    acme = Acme(lambda target, _call: (EngineFailed("it broke") if target.name == "a" else NotOpened(),))
    with pytest.raises(EngineFailed, match="it broke"):
        acme.run()


def test_who_holds_the_key_needs_no_other_credential_where_the_tenant_wants_it_so() -> None:
    acme = Acme(auth="kms")
    assert acme.answered("esdk", credential=None) == b"sealed answer"
    (question,) = acme.asked
    claims, body = split(question)
    assert (claims.use, claims.tenant, claims.key_arn, body) == ("check", "acme", KEY, BLOB)
    assert acme.entries()[0].subject == KEY


def test_what_the_key_does_not_open_costs_the_tenant_nothing_of_its_rate() -> None:
    acme = Acme(auth="kms", check=NotOpened())
    for _ in range(20):
        with pytest.raises(NotOpened):
            acme.run("esdk", credential=None)
    assert not acme.called
    assert not acme.entries()
    assert acme.left() == Acme().left() > 1


def test_key_possession_is_no_credential_unless_the_tenant_opted_in() -> None:
    cases: list[tuple[Acme, dict[str, Any]]] = [
        (Acme(), {}),
        (Acme(auth="kms"), {"tenant": "nobody"}),
        (Acme(auth="kms"), {"mode": "hpke"}),
        (Acme(auth="kms", status="suspended"), {}),
    ]
    for acme, more in cases:
        with pytest.raises(Unauthenticated) as refused:
            acme.run(**{"credential": None, "mode": "esdk", **more})
        assert refused.value.text == Unauthenticated.API_KEY
        assert not acme.asked


def test_what_kms_encrypt_makes_is_no_credential_and_whose_it_might_be_is_not_told() -> None:
    """The host of every enclave may encrypt, so the enclave is not even asked whether it opens."""
    cases: list[tuple[Acme, dict[str, Any]]] = [
        (Acme(auth="kms"), {}),
        (Acme(auth="kms"), {"arn": KEY}),
        (Acme(auth="kms"), {"surface": "openai"}),
        (Acme(auth="kms"), {"tenant": "nobody"}),
        (Acme(auth="kms"), {"tenant": None}),
        (Acme(auth="kms", status="suspended"), {}),
        (Acme(), {}),
    ]
    for acme, more in cases:
        with pytest.raises(Unauthenticated) as refused:
            acme.run("kms", **{"credential": None, **more})
        assert refused.value.text == ENCRYPTING_PROVES_NOTHING
        assert not acme.asked
        assert not acme.called
        assert not acme.entries()


def test_an_api_key_lets_mode_kms_in_where_possession_of_a_key_does_not() -> None:
    acme = Acme(auth="kms")
    assert acme.answered("kms") == b"sealed answer"
    assert not acme.asked


def test_possession_that_no_enclave_can_judge_admits_nothing() -> None:
    acme = Acme(auth="kms", check=NoCapacity("no enclave"))
    with pytest.raises(NoCapacity):
        acme.run("esdk", credential=None)
    assert acme.left() == Acme().left() > 1


def test_without_a_key_for_tickets_nothing_sealed_is_run() -> None:
    acme = Acme()
    acme.path = msgspec.structs.replace(acme.path, tickets=Tickets(TicketKey(Settings()), acme.deployment.clock))
    with pytest.raises(NoCapacity, match="not set up"):
        acme.run()
    assert not acme.called
    assert acme.entries()[0].outcome == "failed"
