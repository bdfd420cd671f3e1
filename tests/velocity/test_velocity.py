"""How many different prompts, keys and addresses a tenant may call with: exactly, whoever counts."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Operation
from chalicelib.identity import ApiKey
from chalicelib.inference import Path, run
from chalicelib.inference.plan import Ask
from chalicelib.inference.velocity import prompt_of
from chalicelib.refusal import Malformed, NotFound, RateLimited
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.tenancy.tenant import MOST_RULES, VelocityRule, What
from chalicelib.velocity import Velocity
from chalicelib.velocity.memory import MemoryWindows
from chalicelib.velocity.reviews import Evidence
from chalicelib.velocity.whose import operators
from chalicelib.velocity.windows import Windows
from tests.small_deployments import Deployment, Store, memory

NOW_MS = 1_795_000_020_000  # a third of a minute has passed
MINUTE_MS = 60_000


class Counted:
    """Windows, and how often they were asked."""

    def __init__(self, windows: Windows) -> None:
        self.asked = 0
        self._windows = windows

    def add(self, *given: Any) -> Any:
        self.asked += 1
        return self._windows.add(*given)


class Scene:
    """Gateways that judge `acme` by some rules, over one store."""

    def __init__(self, store: Store, *rules: VelocityRule) -> None:
        self.rules = rules
        self.windows = Counted(store.windows)
        self.one, self.other = Velocity(self.windows, store.documents), Velocity(self.windows, store.documents)
        self.reviews = self.other.reviews

    def passes(self, said: str, at_ms: int = NOW_MS, by: Velocity | None = None, **more: str) -> bool:
        evidence = Evidence("acme", "key:a", "192.0.2.1")
        try:
            (by or self.one).judge(
                operators("acme"), self.rules, evidence, lambda what: more.get(what, said).encode(), at_ms
            )
        except RateLimited as refused:
            assert refused.retry_in_ms is not None
            return False
        return True


def throttle(what: What = "addresses", most: int = 2, per_s: int = 60) -> VelocityRule:
    return VelocityRule(what, most, per_s, "throttle")


def test_as_many_as_the_rule_says_come_in_and_those_that_did_go_on_to(store: Store) -> None:
    scene = Scene(store, throttle(most=2))
    for by in (scene.one, scene.other, scene.one):
        assert [scene.passes(said, by=by) for said in "abcab"] == [True, True, False, True, True]


def test_what_was_refused_comes_in_with_the_next_window_exactly(store: Store) -> None:
    scene = Scene(store, throttle(most=1))
    assert scene.passes("a")
    with pytest.raises(RateLimited) as refused:
        scene.one.judge(operators("acme"), scene.rules, Evidence("acme", "key:a", "b"), lambda _: b"b", NOW_MS)
    assert (refused.value.limit, refused.value.remaining) == ("addresses-per-60-s", 0)
    assert refused.value.retry_in_ms is not None
    assert not scene.passes("b", NOW_MS + refused.value.retry_in_ms - 1)
    assert scene.passes("b", NOW_MS + refused.value.retry_in_ms)


def test_each_rule_counts_for_itself_and_one_write_is_for_all_of_the_same_length(store: Store) -> None:
    scene = Scene(store, throttle("addresses", 1), throttle("keys", 2), throttle("prompts", 3))
    assert scene.passes("", addresses="a", keys="k", prompts="p")
    assert scene.windows.asked == 1
    assert scene.passes("", addresses="a", keys="l", prompts="q")
    assert not scene.passes("", addresses="b", keys="k", prompts="p")
    assert not scene.passes("", addresses="a", keys="m", prompts="p")
    assert scene.passes("", addresses="a", keys="k", prompts="r")
    assert not scene.passes("", addresses="a", keys="k", prompts="s")


def test_no_store_is_asked_about_what_this_process_knows(store: Store) -> None:
    scene = Scene(store, throttle(most=1))
    scene.passes("a")
    scene.passes("b")
    asked = scene.windows.asked
    assert [scene.passes(said) for said in "abcd"] == [True, False, False, False]
    assert scene.windows.asked == asked == 2


def test_a_rule_that_flags_lets_everything_through_and_tells_once_for_a_window(store: Store) -> None:
    scene = Scene(store, VelocityRule("addresses", 1))
    assert all(scene.passes(said, by=by) for by in (scene.one, scene.other) for said in "abcd")
    (review,) = scene.reviews.all()
    assert (review.tenant, review.id, review.windows, review.open) == ("acme", "addresses-60", 1, True)
    assert (review.subjects, review.addresses) == (("key:a",), ("192.0.2.1",))
    assert all(scene.passes(said, NOW_MS + MINUTE_MS) for said in "ab")
    assert scene.reviews.get("acme", "addresses-60").windows == 2


def test_what_a_full_rule_flags_is_counted_by_the_others_still(store: Store) -> None:
    scene = Scene(store, VelocityRule("addresses", 1), throttle("prompts", 2))
    assert scene.passes("", addresses="a", prompts="p")
    assert scene.passes("", addresses="b", prompts="q")
    assert not scene.passes("", addresses="c", prompts="r")


def test_many_at_once_are_let_in_as_often_as_one_after_another(store: Store) -> None:
    scene = Scene(store, throttle(most=5))
    with ThreadPoolExecutor(8) as threads:
        judged = list(threads.map(lambda n: scene.passes(str(n), by=(scene.one, scene.other)[n % 2]), range(20)))
    assert judged.count(True) == 5


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg")), max_size=40), st.integers(1, 7))
def test_the_first_that_come_are_those_that_are_let_in(calls: list[tuple[bool, str]], most: int) -> None:
    scene = Scene(memory(), throttle(most=most))
    let_in: list[str] = []
    for first, said in calls:
        may = said in let_in or len(let_in) < most
        assert scene.passes(said, by=scene.one if first else scene.other) == may
        if may and said not in let_in:
            let_in.append(said)


def test_tenants_are_counted_apart_and_digests_are_another_in_each_window() -> None:
    windows = Kept()
    velocity = Velocity(windows, memory().documents)
    for tenant in ("acme", "bolt"):
        for at_ms in (NOW_MS, NOW_MS + MINUTE_MS):
            velocity.judge(
                operators(tenant), (throttle(most=1),), Evidence(tenant, "key:a", "a"), lambda _: b"the same", at_ms
            )
    assert len(windows.digests) == 4
    assert {len(digest) for digest in windows.digests} == {8}


class Kept(MemoryWindows):
    def __init__(self) -> None:
        super().__init__()
        self.digests: set[bytes] = set()

    def add(self, tenant: Any, window: Any, adding: Any) -> Any:
        self.digests |= {digest for digest, _ in adding.values()}
        return super().add(tenant, window, adding)


# On the path


@pytest.fixture
def there(store: Store) -> Deployment:
    deployment = Deployment(store)
    deployment.pool()
    deployment.tenant()
    return deployment


def asks(key: str, prompt: str = "hi", ip: str = "192.0.2.1", operation: Operation = "chat.completions") -> Ask:
    messages = msgspec.Raw(msgspec.json.encode([{"role": "user", "content": prompt}]))
    return Ask(
        ApiKey(key), "acme", "openai", operation, "model-a", {"messages": messages}, "r", 8, source=NetworkSource(ip)
    )


def answered(ask: Ask, path: Path) -> bool:
    try:
        with run(ask, path) as answer:
            list(answer)
    except RateLimited:
        return False
    return True


def test_scraping_hoarding_and_a_key_that_has_spread_are_throttled(there: Deployment) -> None:
    first, second, third = (there.key() for _ in range(3))
    rules = (throttle("addresses", 2), throttle("keys", 2), throttle("prompts", 3))
    there.tenancy.velocity.put("acme", rules)
    path = there.path()
    assert [answered(asks(first, ip=ip), path) for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3")] == [True, True, False]
    assert [answered(asks(key), path) for key in (first, second, third)] == [True, True, False]
    assert [answered(asks(first, prompt), path) for prompt in ("hi", "ho", "ha", "he")] == [True, True, True, False]
    assert len(there.store.ledger.page("acme", 0, there.clock() * 2, None, 100).entries) == 7  # nothing else was


def test_a_rule_that_was_taken_away_refuses_nobody_who_remembers_it(there: Deployment) -> None:
    key, path = there.key(), there.path()
    there.tenancy.velocity.put("acme", (throttle(most=1),))
    assert [answered(asks(key, ip=ip), path) for ip in ("192.0.2.1", "192.0.2.2")] == [True, False]
    there.tenancy.velocity.put("acme", ())
    assert answered(asks(key, ip="192.0.2.2"), path)


def test_what_reaches_the_prompt_makes_it_another_one_and_nothing_else() -> None:
    def changed(**fields: bytes) -> bytes:
        ask = asks("k")
        return prompt_of(
            msgspec.structs.replace(ask, fields={**ask.fields, **{n: msgspec.Raw(v) for n, v in fields.items()}})
        )

    assert changed() == changed(stream=b"true") == changed(model=b'"other"') == changed(max_tokens=b"9")
    assert len({changed(), changed(tools=b"[]"), changed(messages=b"[]"), changed(tools=b"[ ]")}) == 4


@pytest.mark.parametrize(
    "rules", [(throttle(), throttle(most=9)), [throttle(per_s=second + 1) for second in range(MOST_RULES + 1)]]
)
def test_rules_that_contradict_each_other_or_are_too_many_are_refused(
    there: Deployment, rules: list[VelocityRule]
) -> None:
    with pytest.raises(Malformed):
        there.tenancy.velocity.put("acme", rules)
    with pytest.raises(NotFound):
        there.tenancy.velocity.put("nobody", (throttle(),))
