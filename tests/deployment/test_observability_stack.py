"""The stack of alarms and dashboards: it watches what there is, and tells whom it should."""

import json
import re
from typing import Any

import msgspec
import pytest

from chalicelib.sight.lines import Lines
from chalicelib.sight.names import DIMENSIONS, NAMESPACE
from tests.deployment.cloudwatch import alarm, dashboard
from tests.deployment.cloudwatch.expression import evaluate
from tests.deployment.cloudwatch.filled_in import ACCOUNT, PARTITION, REGION, FilledIn
from tests.deployment.cloudwatch.insights import Rule, ranked
from tests.deployment.cloudwatch.series import Series
from tests.deployment.emitted import emitted, lines
from tests.deployment.packages import ROOT, Package
from tests.deployment.test_alarms import ALARMS, COMPOSITE_ALARMS, METRIC_ALARMS, TEMPLATE
from tests.sight.facts import facts, refusal

PAGE = (ROOT / "docs" / "observability.md").read_text()

AWS_METRICS = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    **dict.fromkeys(
        [("AWS/ApiGateway", name) for name in ("Count", "4XXError", "5XXError", "Latency")], frozenset({"ApiName"})
    ),
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html; without a function: of all of them
    ("AWS/Lambda", "ConcurrentExecutions"): frozenset(),
    ("AWS/Lambda", "Throttles"): frozenset(),
    ("AWS/Lambda", "Errors"): frozenset({"FunctionName"}),
    ("AWS/Lambda", "Duration"): frozenset({"FunctionName"}),
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"): frozenset({"TableName"}),
    ("AWS/DynamoDB", "ThrottledRequests"): frozenset({"TableName", "Operation"}),
    ("AWS/DynamoDB", "SystemErrors"): frozenset({"TableName", "Operation"}),
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    ("AWS/Events", "Invocations"): frozenset({"RuleName"}),
}
"""With the dimensions that AWS tells them in, as far as we look at them."""


def there_is(namespace: str, metric: str, dimensions: frozenset[str]) -> bool:
    if namespace == NAMESPACE:
        return (metric, dimensions) in emitted()
    return AWS_METRICS.get((namespace, metric)) == dimensions


def boards() -> dict[str, dashboard.Dashboard]:
    return {
        name: msgspec.json.decode(each["DashboardBody"], type=dashboard.Dashboard)
        for name, each in TEMPLATE.properties("AWS::CloudWatch::Dashboard").items()
    }


def rules() -> dict[str, Rule]:
    found = TEMPLATE.properties("AWS::CloudWatch::InsightRule")
    return {name: msgspec.json.decode(each["RuleBody"], type=Rule) for name, each in found.items()}


def test_every_alarm_watches_a_metric_that_somebody_tells() -> None:
    for name, each in METRIC_ALARMS.items():
        for watched in alarm.names(each):
            dimensions = frozenset(dimension for dimension, _ in watched.dimensions)
            assert there_is(watched.namespace, watched.metric, dimensions), (name, watched)


def test_a_metric_of_other_dimensions_or_another_name_would_be_noticed() -> None:
    assert there_is(NAMESPACE, "ErrorCount", frozenset({"service"}))
    assert not there_is(NAMESPACE, "ErrorCount", frozenset())
    assert not there_is(NAMESPACE, "Fault", frozenset({"service"}))
    assert not there_is(NAMESPACE, "Reaped", frozenset())
    assert not there_is("AWS/Lambda", "Errors", frozenset())


def test_whoever_is_told_is_told_by_the_topic_alone() -> None:
    telling = {name for name, each in ALARMS.items() if "AlarmActions" in each}
    parts = {
        name for name in METRIC_ALARMS if any(f'"{name}"' in each["AlarmRule"] for each in COMPOSITE_ALARMS.values())
    }
    assert telling | parts == set(ALARMS) and not telling & parts
    for name in telling:
        assert ALARMS[name]["AlarmActions"] == ["Topic"] == ALARMS[name].get("OKActions", ["Topic"]), name
        assert ALARMS[name]["AlarmDescription"].endswith("."), name


def test_the_service_and_the_api_are_called_as_the_gateway_calls_them(dev: Package) -> None:
    prefix = dev.function("APIHandler")["Environment"]["Variables"]["CLOISTER_TABLE_PREFIX"]
    assert dev.resources["RestAPI"]["Properties"]["Name"] == {"Fn::Sub": "${AWS::StackName}"}  # which is that too
    values = {value for each in METRIC_ALARMS.values() for name in alarm.names(each) for _, value in name.dimensions}
    assert values == {prefix, "KeyChanges"}


def test_dashboards_are_dashboards_of_metrics_that_there_are() -> None:
    for name, board in boards().items():
        graphs = board.graphs()
        for graph in graphs:
            for shown in dashboard.metrics(graph):
                dimensions = frozenset(dimension for dimension, _ in shown.dimensions)
                assert there_is(shown.namespace, shown.metric, dimensions), (name, graph.title, shown)
            for sought in dashboard.searches(graph):
                assert there_is(sought.namespace, sought.said["MetricName"], sought.dimensions), (name, graph.title)
            assert graph.region == REGION
        assert sum(len(list(dashboard.metrics(graph))) + len(list(dashboard.searches(graph))) for graph in graphs) >= 8


def test_expressions_of_dashboards_are_such_as_are_worked_out_here() -> None:
    for board in boards().values():
        for graph in board.graphs():
            series = Series((1.0, 2.0), graph.period)
            drawn = [part for metric in graph.metrics for part in metric if isinstance(part, dict)]
            known = {part["id"]: series for part in drawn if "id" in part and "expression" not in part}
            for part in drawn:
                if "expression" in part:
                    text = dashboard.rest_of(part["expression"])
                    evaluate(text, {**known, "found": [series]}, known)
            identifiers = [part["id"] for part in drawn if "id" in part]
            assert len(set(identifiers)) == len(identifiers)


def test_widgets_stand_beside_each_other() -> None:
    for board in boards().values():
        taken = [
            (x, y)
            for each in board.widgets
            for x in range(each.x, each.x + each.width)
            for y in range(each.y, each.y + each.height)
        ]
        assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < dashboard.COLUMNS


def test_the_dashboard_of_operations_shows_every_alarm_that_tells() -> None:
    (shown,) = [each.properties for each in boards()["Operations"].widgets if isinstance(each, dashboard.AlarmWidget)]
    assert set(shown.alarms) == {f"{name}.Arn" for name, each in ALARMS.items() if "AlarmActions" in each}


def test_the_dashboard_of_pools_is_of_whichever_pools_there_are() -> None:
    board = boards()["Pools"]
    (variable,) = board.variables
    listed = dashboard.search_of(variable.search)
    assert listed.dimensions == frozenset(DIMENSIONS) and variable.populateFrom == "pool"
    assert listed.said == {"service": "cloister-dev", "MetricName": "RequestCount"}
    found = [search for graph in board.graphs() for search in dashboard.searches(graph)]
    assert {search.said["pool"] for search in found} == {variable.pattern}
    assert {search.said["service"] for search in found} == {"cloister-dev"}


def test_who_contributes_most_is_found_in_the_lines_that_the_gateway_writes() -> None:
    def tell(telemetry: Lines) -> None:
        telemetry.request(facts(tenant="acme", tokens=57))
        telemetry.request(facts(tenant="acme", tokens=3))
        telemetry.request(facts(tenant="bolt", tokens=1_000))
        telemetry.request(refusal(tenant="cora", count=90))
        telemetry.count("Fault", 0, tenant="dora")

    told = lines(tell)
    assert {name: ranked(rule, told) for name, rule in rules().items()} == {
        "TenantsByRequests": [(("cora",), 90), (("acme",), 2), (("bolt",), 1)],
        "TenantsByRefusals": [(("cora",), 90)],
        "TenantsByTokens": [(("bolt",), 1_000), (("acme",), 60)],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"LogFormat": "XML"},
        {"AggregateOn": "Count"},
        {"LogGroupNames": ["/aws/*/lambda"]},
        {"Contribution": {"Keys": ["tenant"], "ValueOf": "$.tokens"}},
        {"Contribution": {"Keys": ["$.a"] * 5, "ValueOf": "$.tokens"}},
        {"Contribution": {"Keys": ["$.a"], "ValueOf": "$.tokens", "Filters": [{"Match": "$.a"}]}},
        {"Contribution": {"Keys": ["$.a"], "ValueOf": "$.tokens", "Filters": [{"Match": "$.a", "Over": 3}]}},
    ],
)
def test_a_rule_that_aws_would_not_take_is_noticed(wrong: dict[str, Any]) -> None:
    right = json.loads(TEMPLATE.properties("AWS::CloudWatch::InsightRule")["TenantsByTokens"]["RuleBody"])
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(right | wrong, Rule)


def test_rules_read_the_logs_of_the_gateways_functions(dev: Package) -> None:
    groups = [each["Properties"] for each in dev.resources.values() if each["Type"] == "AWS::Logs::LogGroup"]
    named = {each["LogGroupName"]["Fn::Sub"] for each in groups}
    # CloudFormation names a function by its stack, a dash, and what it is called in the template.
    written = {re.sub(r"\${(\w+)}", r"cloister-dev-\1", name) for name in named}
    for rule in rules().values():
        (prefix,) = rule.LogGroupNames
        assert prefix == "/aws/lambda/cloister-dev-*"
        assert all(name.startswith(prefix.removesuffix("*")) for name in written)


def test_the_topics_key_lets_alarms_and_events_publish_and_nobody_else() -> None:
    (key,) = TEMPLATE.properties("AWS::KMS::Key").values()
    statements = key["KeyPolicy"]["Statement"]
    services = [each for each in statements if "Service" in each["Principal"]]
    assert [(each["Principal"]["Service"], each["Action"]) for each in services] == [
        (["cloudwatch.amazonaws.com", "events.amazonaws.com"], ["kms:Decrypt", "kms:GenerateDataKey*"])
    ]
    (own,) = [each for each in statements if each not in services]
    assert own["Principal"] == {"AWS": f"arn:{PARTITION}:iam::{ACCOUNT}:root"}
    (topic,) = TEMPLATE.properties("AWS::SNS::Topic").values()
    assert topic["KmsMasterKeyId"] == "TopicKey"


def test_the_topic_takes_what_this_accounts_alarms_tell_and_the_events_of_keys() -> None:
    (policy,) = TEMPLATE.properties("AWS::SNS::TopicPolicy").values()
    alarms, events = policy["PolicyDocument"]["Statement"]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert alarms["Condition"] == {
        "ArnLike": {"aws:SourceArn": f"arn:{PARTITION}:cloudwatch:{REGION}:{ACCOUNT}:alarm:*"}
    }
    assert events["Principal"] == {"Service": "events.amazonaws.com"}
    assert {each["Action"] for each in (alarms, events)} == {"sns:Publish"}
    assert {each["Resource"] for each in (alarms, events)} == {"Topic"}


def test_keys_are_watched_all_or_those_that_are_named() -> None:
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd"
    named = FilledIn("observability", {"Stage": "dev", "KeyArns": key})
    (every,), (one,) = (each.properties("AWS::Events::Rule").values() for each in (TEMPLATE, named))
    assert every["EventPattern"]["detail"]["resources"]["ARN"] == [{"exists": True}]
    assert one["EventPattern"]["detail"]["resources"]["ARN"] == key
    assert {"PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey", "CreateGrant"} <= set(
        one["EventPattern"]["detail"]["eventName"]
    )
    assert [target["Arn"] for target in one["Targets"]] == ["Topic"]


def test_nobody_is_subscribed_who_is_not_named() -> None:
    assert TEMPLATE.properties("AWS::SNS::Subscription") == {}
    given = {"Stage": "dev", "Mail": "on-call@example.com", "Webhook": "https://example.com/page"}
    subscribed = FilledIn("observability", given).properties("AWS::SNS::Subscription")
    assert {(each["Protocol"], each["Endpoint"]) for each in subscribed.values()} == {
        ("email", "on-call@example.com"),
        ("https", "https://example.com/page"),
    }


def test_a_partition_and_a_region_are_named_nowhere() -> None:
    text = (ROOT / "infra" / "observability.yaml").read_text()
    assert not re.search(r"arn:aws|us-(east|west|gov)|eu-", text)


def test_the_page_says_of_every_alarm_what_to_do() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    told = [name for name, _, _ in rows]
    assert sorted(told) == sorted(name for name, each in ALARMS.items() if "AlarmActions" in each)
    assert all(len(means) > 30 and len(do) > 30 for _, means, do in rows)


def test_the_page_names_every_parameter() -> None:
    assert all(f"`{name}`" in PAGE for name in TEMPLATE.template["Parameters"])


def test_the_page_counts_what_is_paid_for() -> None:
    for what, count in (
        ("metrics that alarms watch", sum(len(alarm.names(each)) for each in METRIC_ALARMS.values())),
        ("composite alarms", len(COMPOSITE_ALARMS)),
        ("dashboards", len(boards())),
        ("Contributor Insights: rules", len(rules())),
    ):
        (number, each, whole) = re.findall(rf"^\| {what}, at ([\d.]+) \| (\d+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)[0]
        assert (int(each), float(whole)) == (count, round(count * float(number), 2)), what


def test_no_alarm_looks_at_a_window_other_than_the_page_says() -> None:
    """Of the service level: the windows and the shares, in both places that it is asked."""
    windows = {"1 h": 3_600, "5 min": 300, "6 h": 21_600, "30 min": 1_800}
    for name, share, long, short in re.findall(
        r"^\| `(ServiceLevel\w+)` \| more than ([\d.]+) % \| ([^|]+) \| ([^|]+) \|", PAGE, re.MULTILINE
    ):
        parts = re.findall(r'ALARM\("(\w+)"\)', COMPOSITE_ALARMS[name]["AlarmRule"])
        found = [
            (METRIC_ALARMS[part]["Threshold"], METRIC_ALARMS[part]["Metrics"][0]["MetricStat"]["Period"])
            for part in parts
        ]
        assert found == [(float(share), windows[long]), (float(share), windows[short])] * 2
