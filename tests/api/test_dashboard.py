"""The audit log over HTTP: what is shown, to whom, and how much work one question may make."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.ledger import Entry, Units, lease_id_of
from chalicelib.ledger.entry import Audited
from chalicelib.ledger.log import MOST_EXAMINED, Record, percentile, totalled
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.records import KeptPage
from chalicelib.tenancy import PLATFORM_TENANT
from tests.api.signing import OWNER, signed
from tests.ledger.arrange import entry as plain
from tests.small_deployments import T0, Answer, Deployment, Gateway, memory

MINUTE = 60_000
AUDITED = Audited(
    user_arn="arn:aws-us-gov:iam::111122223333:role/analyst",
    source_ip="203.0.113.7",
    source_partition="govcloud",
    destination_partition="commercial",
    model_id="anthropic.claude-x",
    inference_profile="us.anthropic.claude-x",
    request_bytes=100,
    response_bytes=900,
    tokens_in=10,
    tokens_out=20,
    data_classification="cui",
)


class Auditor:
    """Somebody with an analyst's key of `acme`, and a hand that writes its ledger."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.key = deployment.key("acme", "analyst")
        self.written = 0

    def write(self, tenant: str = "acme", *, ms: int = 100, audited: Audited | None = AUDITED, **members: Any) -> Entry:
        """One request, each a minute after the one before."""
        self.written += 1
        at_ms = T0 + self.written * MINUTE
        entry = msgspec.structs.replace(
            plain(at_ms, tenant=tenant, chance=self.written, settled_ms=at_ms + ms),
            **{"request_id": f"r{self.written}", "pool": "model-a", "subject": "key:k", "audited": audited, **members},
        )
        self.deployment.store.ledger.put_if_absent(entry)
        self.deployment.clock.now_ms = at_ms + ms
        return entry

    def ask(self, key: str | None = None, **query: Any) -> Answer:
        path = f"/v1/dashboard/requests?{urlencode(query)}"
        return self.gateway.call("GET", path, key=key or self.key)

    def ids(self, **query: Any) -> list[str]:
        answer = self.ask(**query)
        assert answer.status == 200, answer.body
        return [request["requestId"] for request in answer.json["requests"]]

    def rows(self, **query: Any) -> list[dict[str, str]]:
        answer = self.ask(format="csv", **query)
        assert answer.status == 200, answer.body
        return list(csv.DictReader(io.StringIO(answer.body.decode())))


@pytest.fixture
def auditor(gateway: Gateway, deployment: Deployment) -> Auditor:
    return Auditor(gateway, deployment)


def test_a_request_is_shown_with_all_that_the_audit_knows(auditor: Auditor) -> None:
    auditor.write(ms=250)
    answer = auditor.ask()
    assert answer.json["requests"] == [
        {
            "requestId": "r1",
            "timestamp": "2026-11-18T11:07:40.000Z",
            "tenantId": "acme",
            "userArn": AUDITED.user_arn,
            "sourceIP": "203.0.113.7",
            "sourcePartition": "govcloud",
            "destinationPartition": "commercial",
            "modelId": "anthropic.claude-x",
            "inferenceProfile": "us.anthropic.claude-x",
            "requestSize": 100,
            "responseSize": 900,
            "tokensIn": 10,
            "tokensOut": 20,
            "latency": 250,
            "statusCode": 200,
            "success": True,
            "dataClassification": "cui",
            "ttl": (T0 + MINUTE + 250) // 1_000 + 30 * 86_400,
        }
    ]
    assert answer.json["cursor"] is None


def test_a_call_that_is_not_audited_is_in_the_log_with_what_its_entry_says(auditor: Auditor) -> None:
    auditor.write(audited=None)
    (request,) = auditor.ask().json["requests"]
    assert (request["userArn"], request["modelId"], request["success"]) == ("key:k", "model-a", True)
    assert {request[name] for name in ("requestSize", "tokensIn")} == {None}


@pytest.mark.parametrize("audited", [None, AUDITED])
def test_the_tokens_of_a_request_are_its_entrys_whether_it_is_audited_or_not(
    auditor: Auditor, audited: Audited | None
) -> None:
    auditor.write(audited=audited, tokens_in=0, tokens_out=3)
    (request,) = auditor.ask().json["requests"]
    assert (request["tokensIn"], request["tokensOut"]) == (0, 3)


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({}, 200),
        ({"outcome": "failed", "reason": "EngineFailed"}, 502),
        ({"outcome": "failed", "reason": "Malformed"}, 400),
        ({"outcome": "failed", "reason": "NoCapacity"}, 503),
        ({"outcome": "failed", "reason": "NoCapacity", "operation": "messages"}, 529),
        ({"outcome": "failed", "reason": "client_left"}, 499),
        ({"outcome": "abandoned", "reason": "LeaseExpired"}, None),
    ],
)
def test_the_status_is_what_the_caller_was_answered(
    auditor: Auditor, members: dict[str, Any], status: int | None
) -> None:
    auditor.write(**members)
    assert auditor.ask().json["requests"][0]["statusCode"] == status


def test_totals_are_of_everything_that_was_asked_for_and_come_with_the_first_page(auditor: Auditor) -> None:
    for ms in (100, 200, 300, 400):
        auditor.write(ms=ms)
    auditor.write(ms=1_000, outcome="failed", audited=msgspec.structs.replace(AUDITED, model_id="other"))
    expected = {
        "count": 5,
        "successRate": 0.8,
        "p50LatencyMs": 300,
        "p95LatencyMs": 1_000,
        "bytes": 5_000,
        "mostUsedModels": [{"modelId": "anthropic.claude-x", "count": 4}, {"modelId": "other", "count": 1}],
        "complete": True,
    }
    first = auditor.ask(limit=3).json
    assert first["totals"] == expected
    assert auditor.ask(limit=3, cursor=first["cursor"]).json["totals"] is None
    assert auditor.ask(success="false").json["totals"]["count"] == 1
    assert auditor.ask(model="nothing").json["totals"]["p50LatencyMs"] is None


def test_pages_are_newest_first_and_end(auditor: Auditor) -> None:
    for _ in range(5):
        auditor.write()
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for _ in range(3):
        answer = auditor.ask(**query).json
        seen += [request["requestId"] for request in answer["requests"]]
        query["cursor"] = answer["cursor"]
    assert (seen, query["cursor"]) == (["r5", "r4", "r3", "r2", "r1"], None)


@pytest.mark.parametrize("begins", [{}, {"success": "true"}], ids=["all", "filtered"])
@pytest.mark.parametrize("written", [1, 2, 3, 4, 5])
def test_pages_hold_each_entry_once_and_the_last_has_no_cursor(
    auditor: Auditor, written: int, begins: dict[str, Any]
) -> None:
    expected = [auditor.write().request_id for _ in range(written)][::-1]
    found: list[list[str]] = []
    query: dict[str, Any] = {**begins, "limit": 2}
    while "cursor" not in query or query["cursor"] is not None:
        page = auditor.ask(**query).json
        found.append([request["requestId"] for request in page["requests"]])
        query["cursor"] = page["cursor"]
    assert found == [expected[place : place + 2] for place in range(0, written, 2)]


def test_filters_select(auditor: Auditor) -> None:
    auditor.write()
    auditor.write(audited=msgspec.structs.replace(AUDITED, model_id="other"))
    auditor.write(audited=msgspec.structs.replace(AUDITED, user_arn="arn:aws-us-gov:iam::111122223333:user/bob"))
    auditor.write(outcome="failed", reason="EngineFailed")
    assert auditor.ids(model="other") == ["r2"]
    assert auditor.ids(principal="arn:aws-us-gov:iam::111122223333:user/bob") == ["r3"]
    assert auditor.ids(success="false") == ["r4"]
    assert auditor.ids(success="true", model="anthropic.claude-x") == ["r3", "r1"]


@pytest.mark.parametrize(
    ("begin", "end", "found"),
    [
        ("2026-11-18T11:08:40Z", "2026-11-18T11:09:40Z", ["r2"]),
        ("2026-11-18T12:08:40+01:00", "2026-11-18T11:09:40.001", ["r3", "r2"]),
        ("2026-11-19", "2026-11-20", []),
        ("2026-11-18", "2026-11-19", ["r3", "r2", "r1"]),
    ],
)
def test_a_time_is_from_the_first_instant_to_before_the_second(
    auditor: Auditor, begin: str, end: str, found: list[str]
) -> None:
    for _ in range(3):
        auditor.write()
    assert auditor.ids(**{"from": begin, "to": end}) == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2026-11-19", "to": "2026-11-18"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"to": "1969-12-31"}, "to"),
        ({"from": "2026-11-18T10:00:00 01:00"}, "from"),
        ({"cursor": "made-up"}, "cursor"),
        ({"cursor": f"{lease_id_of(T0, 0)}.000000000000"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"success": "maybe"}, "success"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_what_is_wrong(
    auditor: Auditor, query: Mapping[str, str], field: str
) -> None:
    answer = auditor.ask(**query)
    assert (answer.status, answer.json["field"]) == (400, field)
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_a_cursor_of_another_tenant_is_refused_even_to_an_operator(auditor: Auditor) -> None:
    for tenant in ("acme", "acme", "bolt", "bolt"):
        auditor.write(tenant)
    cursor = auditor.ask(limit=1).json["cursor"]
    operator = auditor.deployment.key(PLATFORM_TENANT)
    for key, query in ((auditor.deployment.key("bolt"), {}), (operator, {"tenant": "bolt"})):
        answer = auditor.ask(key, cursor=cursor, **query)
        assert (answer.status, answer.json["field"]) == (400, "cursor")
    assert auditor.ask(operator, cursor=cursor, tenant="acme").status == 200


def test_a_tenant_sees_its_own_log_and_an_operator_any(auditor: Auditor) -> None:
    auditor.write("acme")
    auditor.write("bolt")
    assert auditor.ids() == auditor.ids(tenant="acme") == ["r1"]
    operator = auditor.deployment.key(PLATFORM_TENANT)
    assert auditor.ids(key=operator, tenant="bolt") == ["r2"]
    assert auditor.ids(key=operator) == []
    for key, named in ((auditor.key, "bolt"), (auditor.key, "nobody"), (operator, "nobody")):
        assert auditor.ask(key, tenant=named).status == 404


def test_of_the_platforms_own_tenant_only_owners_see_the_logs_of_others(auditor: Auditor) -> None:
    auditor.write("acme")
    for role in ("developer", "analyst"):
        key = auditor.deployment.key(PLATFORM_TENANT, role)
        assert auditor.ask(key).status == 200
        assert auditor.ask(key, tenant="acme").status == 404


def test_a_role_without_usage_sees_nothing(auditor: Auditor) -> None:
    assert auditor.ask(auditor.deployment.key("acme", "viewer")).status == 403
    assert auditor.gateway.call("GET", "/v1/dashboard/requests").status == 401


def test_an_iam_principal_of_the_tenant_sees_its_log(auditor: Auditor) -> None:
    auditor.write()
    path = "/v1/dashboard/requests"
    sent = signed("GET", f"http://{auditor.gateway.host}:{auditor.gateway.port}{path}")
    assert auditor.gateway.call("GET", path, headers=sent).status == 403
    auditor.deployment.tenancy.principals.put("acme", [OWNER.arn])
    answer = auditor.gateway.call("GET", path, headers=sent)
    assert [request["requestId"] for request in answer.json["requests"]] == ["r1"]


def test_one_question_looks_at_so_many_entries_and_says_where_to_go_on(auditor: Auditor) -> None:
    oldest = auditor.write(audited=msgspec.structs.replace(AUDITED, model_id="rare"))
    for _ in range(MOST_EXAMINED + 10):
        auditor.write(audited=None)
    first = auditor.ask(model="rare").json
    # What is totalled is all of it, from roll-ups: no page looked so far.
    assert (first["requests"], first["totals"]["complete"], first["totals"]["count"]) == ([], True, 1)
    second = auditor.ask(model="rare", cursor=first["cursor"]).json
    assert ([each["requestId"] for each in second["requests"]], second["cursor"]) == ([oldest.request_id], None)


class WatchedLedger(MemoryLedger):
    """Remembers of each query where it went on and how many entries it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[tuple[str | None, int]] = []

    def kept(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> KeptPage:
        page = super().kept(tenant, since_ms, until_ms, cursor, limit)
        self.queries.append((cursor, len(page.kept)))
        return page

    def read(self) -> int:
        """How many entries, since this was last asked."""
        read = sum(count for _, count in self.queries)
        self.queries.clear()
        return read


def test_no_page_reads_again_what_a_page_before_it_has_shown(gateway: Gateway) -> None:
    ledger = WatchedLedger()
    deployment = Deployment(msgspec.structs.replace(memory(), ledger=ledger))
    deployment.tenant("acme")
    auditor = Auditor(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        for number in range(1_200):
            auditor.write(audited=AUDITED if number % 100 == 0 else None)
        first = auditor.ask(limit=50).json
        assert (first["totals"]["count"], ledger.read()) == (1_200, 1_200)  # the page is part of what is totalled
        cursor = first["cursor"]
        for _ in range(3):
            page = auditor.ask(limit=50, cursor=cursor).json
            ((went_on_after, handed),) = ledger.queries
            assert (went_on_after, handed) == (cursor.partition(".")[0], 51)
            cursor = page["cursor"]
            ledger.read()
        rare = auditor.ask(model=AUDITED.model_id, cursor=cursor).json
        assert (len(rare["requests"]), ledger.read()) == (10, 1_000)  # until the end of all, each once
        assert (len(auditor.rows()), ledger.read()) == (1_200, 1_200)


# CSV


def test_a_csv_has_the_same_columns_and_a_cursor_to_go_on_with(auditor: Auditor) -> None:
    for _ in range(3):
        auditor.write()
    answer = auditor.ask(format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = auditor.rows()
    (newest, *_), shown = rows, auditor.ask(limit=1).json["requests"][0]
    assert [*newest] == [*shown, "cursor"]
    assert {name: newest[name] for name in shown} == {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in shown.items()
    }
    assert [row["requestId"] for row in auditor.rows(cursor=newest["cursor"])] == ["r2", "r1"]
    assert auditor.rows(model="nothing") == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(auditor: Auditor, text: str) -> None:
    auditor.write(request_id=text, audited=msgspec.structs.replace(AUDITED, model_id=text, user_arn=f'{text}",=1'))
    (row,) = auditor.rows()
    assert row["requestId"] == row["modelId"] == f"'{text}"
    assert row["userArn"] == f"'{text}\",=1"


def test_a_csv_is_refused_with_a_status_where_it_is_refused(auditor: Auditor) -> None:
    assert auditor.ask(format="csv", cursor="made-up").status == 400


# the arithmetic


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    assert [percentile(range(1, 101), percent) for percent in (1, 50, 95, 100)] == [1, 50, 95, 100]
    assert [percentile([7], percent) for percent in (1, 50, 95)] == [7, 7, 7]
    assert percentile([], 50) is None


def test_of_the_most_used_models_five_are_named() -> None:
    records = [
        Record(msgspec.structs.replace(plain(), pool=f"m{number}", used=Units()), 0)
        for number in range(7)
        for _ in range(number)
    ]
    assert [share.model for share in totalled(records, complete=True).most_used] == ["m6", "m5", "m4", "m3", "m2"]
