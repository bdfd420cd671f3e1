"""Usage, limits and the ledger over HTTP: in the shapes that programs rely on, and equal to the ledger."""

import csv
import io
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.usage import Roller
from chalicelib.usage.memory import MemoryRollups
from chalicelib.usage.roller import GRACE_MS
from chalicelib.usage.rollups import NoUsageTable
from chalicelib.usage.times import DAY_MS, HOUR_MS
from tests.small_deployments import Answer, Deployment, Gateway
from tests.usage.arrange import T0, made

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


class Reader:
    """Somebody with an analyst's key of `acme`, and a hand that writes its ledger and rolls it up."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.key = deployment.key("acme", "analyst")
        self.written = 0

    def write(self, at_ms: int, **members: Any) -> None:
        self.written += 1
        self.deployment.store.ledger.put_if_absent(made(at_ms, self.written, **members))

    def roll_up(self, at_ms: int) -> None:
        self.deployment.clock.now_ms = at_ms
        ledger = self.deployment.store.ledger
        Roller(ledger, ledger, self.deployment.store.rollups).run(lambda: ["acme"], at_ms)

    def ask(self, what: str, key: str | None = None, **query: Any) -> Answer:
        path = f"/tenants/acme/v1/{what}?{urlencode(query)}"
        return self.gateway.call("GET", path, key=key or self.key)

    def lines(self, what: str, **query: Any) -> list[dict[str, str]]:
        answer = self.ask(what, format="csv", **query)
        assert answer.status == 200, answer.body
        return list(csv.DictReader(io.StringIO(answer.body.decode())))


@pytest.fixture
def reader(gateway: Gateway, deployment: Deployment) -> Reader:
    return Reader(gateway, deployment)


def test_usage_by_day_is_what_was_used_closed_or_open(reader: Reader) -> None:
    for at_ms in (T0, T0 + HOUR_MS, T0 + DAY_MS):
        reader.write(at_ms, member="ada")
    reader.write(T0 + DAY_MS, key="k2", outcome="failed", reason="EngineFailed")
    expected = [
        {
            "bucket": "2026-11-18T00:00:00.000Z",
            "group": {"model": "model-a", "key": "k1", "member": "ada"},
            **{"requests": 2, "refusals": 0, "tokens_in": 20, "tokens_out": 4, "micro_usd": 14},
            **{"p50_ms": 250, "p95_ms": 250},
        },
        {
            "bucket": "2026-11-19T00:00:00.000Z",
            "group": {"model": "model-a", "key": "k1", "member": "ada"},
            **{"requests": 1, "refusals": 0, "tokens_in": 10, "tokens_out": 2, "micro_usd": 7},
            **{"p50_ms": 250, "p95_ms": 250},
        },
        {
            "bucket": "2026-11-19T00:00:00.000Z",
            "group": {"model": "model-a", "key": "k2", "member": ""},
            **{"requests": 1, "refusals": 1, "tokens_in": 10, "tokens_out": 2, "micro_usd": 7},
            **{"p50_ms": 250, "p95_ms": 250},
        },
    ]
    for now_ms in (T0 + 25 * HOUR_MS, T0 + 26 * HOUR_MS, T0 + 2 * DAY_MS + GRACE_MS):
        reader.deployment.clock.now_ms = now_ms
        answer = reader.ask("usage", group_by="model,key,member", **{"from": "2026-11-18"}).json
        assert answer["data"] == expected
        assert (answer["cursor"], len(answer["as_of"])) == (None, 24)
        reader.roll_up(now_ms)


def test_buckets_are_whole_and_pages_go_on_where_they_ended(reader: Reader) -> None:
    for hour in range(5):
        reader.write(T0 + hour * HOUR_MS + 1)
    reader.roll_up(T0 + 6 * HOUR_MS)
    query = {"bucket": "hour", "from": "2026-11-18T01:30:00Z", "to": "2026-11-18T03:30:00Z"}
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = reader.ask("usage", limit=1, **query, **cursor).json
        found += [each["bucket"] for each in page["data"]]
        cursor = {"cursor": page["cursor"]}
    assert found == [f"2026-11-18T0{hour}:00:00.000Z" for hour in (1, 2, 3)]
    assert cursor == {"cursor": None}


def test_usage_as_a_file_has_a_column_for_each_group_and_goes_on(reader: Reader) -> None:
    reader.write(T0, pool="=1+1")
    reader.write(T0 + DAY_MS)
    reader.roll_up(T0 + 3 * DAY_MS)
    first, second = reader.lines("usage", group_by="pool")
    assert [*first] == [
        *("bucket", "pool", "requests", "refusals", "tokens_in", "tokens_out", "micro_usd", "p50_ms", "p95_ms"),
        "cursor",
    ]
    assert (first["pool"], first["micro_usd"]) == ("'=1+1", "7")
    assert reader.lines("usage", group_by="pool", cursor=first["cursor"]) == [second]
    assert reader.ask("usage", format="csv").headers["content-type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"group_by": "tenant"}, "group_by"),
        ({"group_by": "key,key"}, "group_by"),
        ({"bucket": "minute"}, "bucket"),
        ({"from": "2026-11-19", "to": "2026-11-18"}, "from"),
        ({"to": "yesterday"}, "to"),
        ({"cursor": "made-up"}, "cursor"),
        ({"cursor": "WzEsWyJhIl1d"}, "cursor"),  # [1,["a"]]: of a question by one dimension
        ({"limit": "0"}, "limit"),
        ({"format": "csv", "limit": "5"}, "limit"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_what_is_wrong(
    reader: Reader, query: dict[str, str], field: str
) -> None:
    answer = reader.ask("usage", **query)
    assert (answer.status, answer.json["error"]["param"]) == (400, field)


class NoTable(MemoryRollups):
    def last(self, tenant: str, span: Any) -> Any:
        raise NoUsageTable("cloister-test-usage")


def test_without_its_table_usage_alone_is_refused_and_says_why(reader: Reader) -> None:
    deployment = Deployment(msgspec.structs.replace(reader.deployment.store, rollups=NoTable()))
    with wiring.opening_into(deployment.rooms()):
        answer = reader.ask("usage")
        assert answer.status == 503 and "infra/tables.yaml" in answer.json["error"]["message"]
        assert reader.ask("limits").status == reader.ask("requests").status == 200


def test_a_tenant_sees_its_own_usage_and_nobody_elses(reader: Reader) -> None:
    reader.write(T0)
    reader.write(T0, tenant="bolt")
    reader.deployment.clock.now_ms = T0 + HOUR_MS
    for key, status in ((reader.deployment.key("bolt"), 404), (reader.deployment.key("acme", "viewer"), 403)):
        assert {reader.ask(what, key).status for what in ("usage", "limits", "requests")} == {status}
    assert [row["requests"] for row in reader.ask("usage").json["data"]] == [1]


def test_limits_are_those_of_the_older_route_in_another_form(reader: Reader) -> None:
    owner = reader.deployment.key()
    assert reader.gateway.call("POST", "/tenants/acme/v1/chat/completions", key=owner, json=CHAT).status == 200
    older = reader.gateway.call("GET", "/tenants/acme/usage", key=owner).json
    now = reader.ask("limits").json
    assert [(each["name"], each["unit"], each["limit"], each["remaining"]) for each in now["limits"]] == [
        (each["name"], each["unit"], each["quota"], each["remaining"]) for each in older["limits"]
    ]
    assert all(each["used"] + each["remaining"] == each["limit"] for each in now["limits"])
    assert any(each["used"] for each in now["limits"])
    assert all(each["resets_at"].endswith("Z") for each in now["limits"])
    limit = older["in_flight_limit"]
    assert now["in_flight"] == {"limit": limit, "used": 0, "remaining": limit}


def test_requests_are_the_ledger_and_tell_the_key_and_the_member_that_called(reader: Reader) -> None:
    deployment = reader.deployment
    deployment.tenancy.people.put("acme", "ada", "developer")
    keys = [deployment.key("acme", "developer", member="ada"), deployment.key("acme", "developer")]
    for key in keys:
        assert reader.gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key, json=CHAT).status == 200
    answer = reader.ask("requests").json
    assert answer == reader.gateway.call("GET", "/tenants/acme/requests", key=reader.key).json
    entries = answer["entries"][::-1]
    assert [entry["member"] for entry in entries] == ["ada", ""]
    assert all(entry["subject"] == f"key:{entry['key']}" for entry in entries)
    assert [row["group"]["key"] for row in reader.ask("usage", group_by="key").json["data"]] == sorted(
        entry["key"] for entry in entries
    )


def test_requests_as_a_file_are_all_of_them_at_both_routes(reader: Reader) -> None:
    for number in range(1_203):
        reader.write(T0 + number, request_id=f"r{number}")
    lines = reader.lines("requests")
    assert [line["request_id"] for line in lines] == [f"r{number}" for number in reversed(range(1_203))]
    older = reader.gateway.call("GET", "/tenants/acme/requests?format=csv", key=reader.key)
    assert list(csv.DictReader(io.StringIO(older.body.decode()))) == lines
    newest = lines[0]
    assert (newest["charged_micro_usd"], newest["tokens_in"], newest["sealed"]) == ("7", "10", "")
    assert reader.lines("requests", cursor=lines[1_200]["lease_id"]) == lines[1_201:]
    times = {"from": "2026-11-18T00:00:00.010Z", "to": "2026-11-18T00:00:00.012Z"}
    assert [line["request_id"] for line in reader.lines("requests", **times)] == ["r11", "r10"]
    assert reader.ask("requests", format="csv", cursor="made-up").status == 400


def test_the_audit_log_totals_more_than_it_reads(reader: Reader) -> None:
    for number in range(5_500):
        reader.write(
            T0 + number * 1_000, **({"outcome": "failed", "reason": "EngineFailed"} if number % 4 == 0 else {})
        )
    reader.roll_up(T0 + DAY_MS)

    def totals(**query: Any) -> Any:
        path = f"/v1/dashboard/requests?{urlencode(query)}"
        return reader.gateway.call("GET", path, key=reader.key).json["totals"]

    found = totals()
    assert (found["count"], found["successRate"], found["complete"]) == (5_500, 0.75, True)
    assert found["mostUsedModels"] == [{"modelId": "model-a", "count": 5_500}]
    assert abs(found["p50LatencyMs"] - 250) * 64 <= 250
    assert totals(principal="key:k1", model="model-a")["count"] == 5_500
    assert totals(**{"from": "2026-11-18T00:01:00Z"})["count"] == 5_440
    arn = totals(principal="arn:aws:iam::111122223333:role/x")
    assert (arn["count"], arn["complete"]) == (0, False)
