"""KMS keys: one tenant for each, whoever comes at the same time and whoever dies half-way."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.admission import Epochs
from chalicelib.documents import PLATFORM, Document, Documents
from chalicelib.refusal import Conflict, NotFound, NotOpened, StoreUnavailable
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.kms_keys import CHALLENGE_MS, MOST_KEYS
from chalicelib.tenancy.tenant import RegisteredKey, Sealing
from tests.patience import PATIENCE_S
from tests.small_deployments import T0, Deployment, Store
from tests.tenancy.interleaving import Act, Interrupted, in_every_order, suppressed


def arn(number: int = 0, region: str = "us-east-1") -> str:
    return f"arn:aws:kms:{region}:111122223333:key/mrk-{number:032x}"


ARN = arn()
KEY_ID = ARN.rpartition("/")[2]
DIGEST = "ab" * 32


@pytest.fixture
def there(store: Store) -> Deployment:
    return with_two_tenants(Deployment(store))


def with_two_tenants(deployment: Deployment) -> Deployment:
    deployment.tenant("acme")
    deployment.tenant("bolt")
    return deployment


def registered(there: Deployment, tenant: str = "acme", key_arn: str = ARN) -> RegisteredKey:
    there.tenancy.kms_keys.challenge(tenant, key_arn, DIGEST)
    return there.tenancy.kms_keys.prove(tenant, key_arn.rpartition("/")[2], DIGEST)


def keys(there: Deployment, tenant: str = "acme") -> list[str]:
    return [key.arn for key in there.tenancy.tenant(tenant).sealing.keys]


def owners(there: Deployment, key_arn: str = ARN) -> list[str]:
    return [tenant.id for tenant in there.tenancy.tenants() if tenant.sealing.key_for(key_arn)]


# what a tenant's sealing says


def test_a_key_that_is_named_must_be_registered_and_the_only_one_needs_no_name() -> None:
    one = Sealing(keys=(RegisteredKey(arn(1), 0),))
    two = Sealing(keys=(RegisteredKey(arn(1), 0), RegisteredKey(arn(2), 0)))
    assert Sealing().key_for(None) is Sealing().key_for(arn(1)) is None
    assert one.key_for(None) == one.key_for(arn(1)) == arn(1)
    assert two.key_for(None) is one.key_for(arn(2)) is None
    assert two.key_for(arn(2)) == arn(2)


# one after the other


def test_a_key_that_is_proved_is_registered(there: Deployment) -> None:
    challenge = there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    assert challenge.expires_ms == T0 + CHALLENGE_MS
    assert keys(there) == []
    assert there.tenancy.kms_keys.prove("acme", KEY_ID, DIGEST) == RegisteredKey(ARN, T0)
    assert keys(there) == [ARN]


def test_a_wrong_proof_registers_nothing_and_leaves_the_challenge_open(there: Deployment) -> None:
    there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    with pytest.raises(NotOpened):
        there.tenancy.kms_keys.prove("acme", KEY_ID, "cd" * 32)
    assert keys(there) == []
    there.tenancy.kms_keys.prove("acme", KEY_ID, DIGEST)


def test_a_challenge_serves_once_and_for_a_while(there: Deployment) -> None:
    registered(there)
    with pytest.raises(NotFound):
        there.tenancy.kms_keys.prove("acme", KEY_ID, DIGEST)
    there.tenancy.kms_keys.challenge("acme", arn(1), DIGEST)
    there.clock.now_ms += CHALLENGE_MS
    for late in (there.tenancy.kms_keys.pending, lambda tenant, key: there.tenancy.kms_keys.prove(tenant, key, DIGEST)):
        with pytest.raises(Conflict, match="expired"):
            late("acme", arn(1).rpartition("/")[2])
    assert keys(there) == [ARN]


def test_a_new_challenge_takes_the_place_of_the_last(there: Deployment) -> None:
    there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    there.tenancy.kms_keys.challenge("acme", ARN, "cd" * 32)
    with pytest.raises(NotOpened):
        there.tenancy.kms_keys.prove("acme", KEY_ID, DIGEST)


def test_a_challenge_is_one_tenants(there: Deployment) -> None:
    there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    with pytest.raises(NotFound):
        there.tenancy.kms_keys.prove("bolt", KEY_ID, DIGEST)


def test_a_key_of_another_tenant_is_refused_without_a_word_whose_it_is(there: Deployment) -> None:
    registered(there, "acme")
    with pytest.raises(Conflict) as refused:
        registered(there, "bolt")
    assert "acme" not in refused.value.text.lower()
    assert owners(there) == ["acme"]


def test_a_challenge_does_not_tell_whether_somebody_has_the_key(there: Deployment) -> None:
    """Only who proves control of a key hears that it is taken."""
    registered(there, "acme")
    assert there.tenancy.kms_keys.challenge("bolt", ARN, DIGEST).arn == ARN


def test_a_removed_key_opens_nothing_and_anybody_may_register_it(there: Deployment) -> None:
    registered(there, "acme")
    there.tenancy.kms_keys.remove("acme", KEY_ID)
    assert keys(there) == []
    registered(there, "bolt")
    with pytest.raises(Conflict):
        registered(there, "acme")
    there.tenancy.kms_keys.remove("bolt", KEY_ID)
    assert registered(there, "acme").registered_ms == T0
    assert owners(there) == ["acme"]


def test_a_registration_that_waits_for_its_proof_can_be_withdrawn(there: Deployment) -> None:
    there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    there.tenancy.kms_keys.remove("acme", KEY_ID)
    with pytest.raises(NotFound):
        there.tenancy.kms_keys.prove("acme", KEY_ID, DIGEST)


@pytest.mark.parametrize("key_id", ["", "mrk-", "#", f"{KEY_ID}#", KEY_ID, "x" * 5_000])
def test_a_key_that_a_tenant_does_not_have_is_not_found_and_nobody_elses_is_touched(
    there: Deployment, key_id: str
) -> None:
    registered(there, "bolt")
    with pytest.raises(NotFound):
        there.tenancy.kms_keys.remove("acme", key_id)
    with pytest.raises(NotFound):
        there.tenancy.kms_keys.pending("acme", key_id)
    with pytest.raises(Conflict):
        registered(there, "acme")


def test_two_regions_of_one_key_do_not_stand_side_by_side(there: Deployment) -> None:
    """Paths name keys by their id, and a multi-region key has one id everywhere."""
    registered(there)
    with pytest.raises(Conflict, match="us-east-1"):
        there.tenancy.kms_keys.challenge("acme", arn(region="us-west-2"), DIGEST)
    there.tenancy.kms_keys.remove("acme", KEY_ID)
    registered(there, "acme", arn(region="us-west-2"))
    assert keys(there) == [arn(region="us-west-2")]


def test_another_region_of_a_key_is_no_other_tenants(there: Deployment) -> None:
    """What was sealed under a multi-region key opens in all of its regions."""
    registered(there, "acme")
    with pytest.raises(Conflict, match="another tenant"):
        registered(there, "bolt", arn(region="us-west-2"))
    assert keys(there, "bolt") == []


def test_so_many_keys_and_no_more() -> None:
    there = with_two_tenants(Deployment())
    for number in range(MOST_KEYS):
        registered(there, "acme", arn(number))
    with pytest.raises(Conflict, match=str(MOST_KEYS)):
        there.tenancy.kms_keys.challenge("acme", arn(MOST_KEYS), DIGEST)
    there.tenancy.kms_keys.challenge("acme", arn(0), DIGEST)


def test_possession_is_asked_for_only_where_there_is_something_to_possess(there: Deployment) -> None:
    with pytest.raises(Conflict):
        there.tenancy.kms_keys.let_in_by("acme", "kms")
    registered(there)
    there.tenancy.kms_keys.let_in_by("acme", "kms")
    assert there.tenancy.tenant("acme").sealing.auth == "kms"
    there.tenancy.kms_keys.let_in_by("acme", "api_key")
    assert there.tenancy.tenant("acme").sealing == Sealing("api_key", (RegisteredKey(ARN, T0),))


def test_tenants_of_yesterday_seal_nothing_yet() -> None:
    deployment = Deployment()
    deployment.store.documents.put(Document("old", "tenant", '{"id":"old","name":"Old"}'))
    assert deployment.tenancy.tenant("old").sealing == Sealing("api_key", ())


@pytest.mark.parametrize("change", ["register", "let in by", "remove"])
def test_every_change_moves_the_epoch_so_that_no_warm_gateway_goes_by_the_old(there: Deployment, change: str) -> None:
    kms_keys = there.tenancy.kms_keys
    changes: dict[str, Callable[[], object]] = {
        "register": lambda: kms_keys.register("acme", arn(1)),
        "let in by": lambda: kms_keys.let_in_by("acme", "kms"),
        "remove": lambda: kms_keys.remove("acme", KEY_ID),
    }
    registered(there)
    warm = there.path().snapshots
    before = warm.cached("acme")
    changes[change]()
    after = warm.fresh("acme")
    assert after.epoch > before.epoch
    assert after.tenant.sealing != before.tenant.sealing


# at the same time


def test_of_two_tenants_who_prove_one_key_at_once_exactly_one_gets_it(there: Deployment) -> None:
    for number in range(4):
        for tenant in ("acme", "bolt"):
            there.tenancy.kms_keys.challenge(tenant, arn(number), DIGEST)
        together = threading.Barrier(2)

        def prove(tenant: str, number: int = number, together: threading.Barrier = together) -> bool:
            together.wait(PATIENCE_S)
            try:
                there.tenancy.kms_keys.prove(tenant, arn(number).rpartition("/")[2], DIGEST)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            won = dict(zip(("acme", "bolt"), threads.map(prove, ("acme", "bolt")), strict=True))
        assert owners(there, arn(number)) == [tenant for tenant in won if won[tenant]]
        assert list(won.values()).count(True) == 1


@pytest.mark.parametrize("write", [1, 2])
def test_who_is_overtaken_by_another_tenant_gets_nothing(there: Deployment, write: int) -> None:
    documents = Interrupted(there.store.documents, write, lambda: suppressed(lambda: register(there, "bolt")))
    late = Tenancy(documents, there.store.meters, there.clock, there.chance)
    suppressed(lambda: late.kms_keys.register("acme", ARN))
    assert owners(there) == (["bolt"] if write == 1 else ["acme"])


def register(there: Deployment, tenant: str) -> RegisteredKey:
    return there.tenancy.kms_keys.register(tenant, ARN)


REGISTER: Act = lambda tenancy: tenancy.kms_keys.register("acme", ARN)  # noqa: E731
REMOVE: Act = lambda tenancy: tenancy.kms_keys.remove("acme", KEY_ID)  # noqa: E731
TAKE: Act = lambda tenancy: tenancy.kms_keys.register("bolt", ARN)  # noqa: E731
PAIRS = {
    "it registers, and removes what it had": (REGISTER, REMOVE),
    "it removes twice": (REMOVE, REMOVE),
    "it registers, and so does another tenant": (REGISTER, TAKE),
    "it removes, and another tenant registers": (REMOVE, TAKE),
}


@pytest.mark.parametrize("held_before", [False, True])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_key_never_has_two_tenants_and_never_one_without_a_claim_in_any_interleaving(
    pair: tuple[Act, Act], held_before: bool
) -> None:

    def fresh() -> Deployment:
        there = with_two_tenants(Deployment())
        if held_before:
            register(there, "acme")
        return there

    def hold(there: Deployment) -> None:
        claims = [document.text for document in there.store.documents.under(PLATFORM, "kms-key#")]
        assert len(owners(there)) <= 1
        assert all(f'"{owner}"' in "".join(claims) for owner in owners(there))

    assert in_every_order(fresh, pair, hold) > 1


# half-way


class Dying:
    """Documents whose writer dies before the `last` of its writes."""

    def __init__(self, documents: Documents, last: int) -> None:
        self.get = documents.get
        self.under = documents.under
        self.tenants = documents.tenants
        self._documents = documents
        self._left = last

    def put(self, document: Document) -> None:
        self._die()
        self._documents.put(document)

    def delete(self, document: Document) -> None:
        self._die()
        self._documents.delete(document)

    def _die(self) -> None:
        self._left -= 1
        if self._left <= 0:
            raise StoreUnavailable("planned")


class DyingEpochs:
    """Epochs whose bumps never arrive."""

    def __init__(self, epochs: Epochs) -> None:
        self.open = epochs.open
        self.read = epochs.read

    def bump(self, tenant: str) -> int:
        raise StoreUnavailable("planned")


def dying(there: Deployment, write: int) -> Tenancy:
    """Before that write; before the epoch's move for 0."""
    if write == 0:
        return Tenancy(there.store.documents, DyingEpochs(there.store.meters), there.clock, there.chance)
    return Tenancy(Dying(there.store.documents, write), there.store.meters, there.clock, there.chance)


@pytest.mark.parametrize("write", [0, 1, 2, 3])
def test_a_registration_that_died_half_way_is_completed_by_repeating_it(there: Deployment, write: int) -> None:
    there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    with pytest.raises(StoreUnavailable):
        dying(there, write).kms_keys.prove("acme", KEY_ID, DIGEST)
    epoch = there.store.meters.read("acme")
    assert there.tenancy.kms_keys.prove("acme", KEY_ID, DIGEST).arn == ARN
    assert keys(there) == [ARN]
    assert there.store.meters.read("acme") > epoch


@pytest.mark.parametrize("write", [0, 1, 2, 3])
def test_a_registration_that_died_half_way_can_be_given_up_and_frees_the_key(there: Deployment, write: int) -> None:
    there.tenancy.kms_keys.challenge("acme", ARN, DIGEST)
    with pytest.raises(StoreUnavailable):
        dying(there, write).kms_keys.prove("acme", KEY_ID, DIGEST)
    there.tenancy.kms_keys.remove("acme", KEY_ID)
    assert left(there) == []
    registered(there, "bolt")


@pytest.mark.parametrize("write", [0, 1, 2])
def test_a_removal_that_died_half_way_is_completed_by_repeating_it(there: Deployment, write: int) -> None:
    registered(there)
    with pytest.raises(StoreUnavailable):
        dying(there, write).kms_keys.remove("acme", KEY_ID)
    if owners(there) == ["acme"]:
        with pytest.raises(Conflict):
            registered(there, "bolt")
    epoch = there.store.meters.read("acme")
    there.tenancy.kms_keys.remove("acme", KEY_ID)
    assert left(there) == []
    assert there.store.meters.read("acme") > epoch
    registered(there, "bolt")


def left(there: Deployment) -> Sequence[object]:
    """Of a key that acme does not have any more."""
    documents = there.store.documents
    return [*keys(there), *documents.under(PLATFORM, "kms-key#"), *documents.under("acme", "kms-")]
