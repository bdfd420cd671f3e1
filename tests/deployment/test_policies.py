"""What the functions may do: what they really do, on the tables they really do it on, and no more."""

import json
import os
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from chalicelib.admission import DEFAULT_LIMITS, Admission, Lease, Limits, Units, lease_id_of
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.shares.store import DynamoKeeping
from chalicelib.admission.store import DynamoMeters
from chalicelib.contents import Contents
from chalicelib.contents.data_keys import DataKeys
from chalicelib.contents.memory import MemoryKeys
from chalicelib.contents.store import DynamoPieces
from chalicelib.documents import Document
from chalicelib.documents.store import DynamoDocuments
from chalicelib.egress import Egress
from chalicelib.ledger.chain import DAY_MS
from chalicelib.ledger.entry import Entry
from chalicelib.ledger.notary import SETTLED_MS, Notary
from chalicelib.ledger.store import DynamoHeads, DynamoLedger
from chalicelib.placement.report import Reports, summary
from chalicelib.pool import Pool, SageMaker
from chalicelib.status import probing
from chalicelib.status.asking import Questions
from chalicelib.status.board import Boards
from chalicelib.status.incidents import STATUS
from chalicelib.status.subscribers import Subscribers
from chalicelib.tenancy import Change, Tenancy
from chalicelib.tenancy.set_limits import set_limits
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tenancy.tenant import Tenant
from chalicelib.usage import Roller, Usage
from chalicelib.usage.store import DynamoRollups
from tests.deployment.packages import ROOT
from tests.deployment.policies import LEADING_KEYS, STAGES, allowed, each, statements
from tests.deployment.recorder import Asked, recorder
from tests.deployment.streaming import answers, everything_that_streams
from tests.patience import PATIENCE_S
from tests.small_deployments import Deployment, dynamodb
from tests.stores import REGION, Served, fresh_tables, prefix_of, reach_tables

NOW = 1_795_000_000_000
BUSY = Limits(rates=(), budgets=(), in_flight=40)  # of several meters
KINDS = ("", "-streaming", "-reaper", "-prober", "-publisher", "-notary", "-usage", "-eraser")
POLICIES = [f"policy-{stage}{kind}.json" for stage in STAGES for kind in KINDS]

# These actions know no resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
# and https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
WITHOUT_RESOURCES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "bedrock:ListFoundationModels"}
# Bedrock names its models and profiles, and nobody else does.
OF_BEDROCK = (
    r"arn:\*:bedrock:([a-z0-9-]+):"
    r"(:foundation-model|\*:inference-profile|\*:application-inference-profile|\*:guardrail)/\*"
)
# S3 knows no regions and accounts, and who mails is called as its domain is.
OF_THE_STATUS_PAGE = r"arn:\*:(s3:::cloister-(gov-)?(dev|prod)-status\*/status/\*|ses:\*:\*:identity/\*)"
BEDROCK_REGIONS = {"us-east-1", "us-east-2", "us-west-2"}  # to serve others, their names in the four policies and here


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_name_what_they_allow_in_every_partition(policy: str) -> None:
    for statement in statements(policy):
        assert statement["Effect"] == "Allow"
        assert not [action for action in each(statement["Action"]) if "*" in action]
        for resource in each(statement["Resource"]):
            if resource == "*":
                assert set(each(statement["Action"])) <= WITHOUT_RESOURCES
            elif resource == "arn:*:kms:*:*:key/*":
                # A key's ARN holds no name of ours; its alias does.
                (named,) = statement["Condition"]["ForAnyValue:StringEquals"].items()
                assert named[0] == "kms:ResourceAliases" and re.fullmatch("alias/cloister-.+", named[1])
            elif not re.fullmatch(OF_BEDROCK, resource) and not re.fullmatch(OF_THE_STATUS_PAGE, resource):
                assert re.fullmatch(r"arn:\*:[a-z]+:\*:\*:[a-z-]+[:/].*cloister-.+", resource), resource


@pytest.mark.parametrize("stage", ["dev", "prod"])
@pytest.mark.parametrize("kind", ["", "-streaming"])
def test_bedrock_is_reached_in_regions_that_are_listed_and_in_the_same_for_all_that_is_done_there(
    stage: str, kind: str
) -> None:
    listed = [
        statement for statement in statements(f"policy-{stage}{kind}.json") if "bedrock:" in str(statement["Action"])
    ]
    assert listed
    for statement in listed:
        if statement["Resource"] == "*":
            (named,) = statement["Condition"]["StringEquals"].items()
            assert named == ("aws:RequestedRegion", sorted(BEDROCK_REGIONS))
            continue
        kinds: dict[str, set[str]] = {}
        for resource in each(statement["Resource"]):
            matched = re.fullmatch(OF_BEDROCK, resource)
            assert matched, resource
            kinds.setdefault(matched[2], set()).add(matched[1])
        assert set(map(frozenset, kinds.values())) == {frozenset(BEDROCK_REGIONS)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["", "gov-"])
def test_the_stages_of_a_partition_differ_in_their_names_only(place: str, kind: str) -> None:
    dev, prod = ((ROOT / ".chalice" / f"policy-{place}{stage}{kind}.json").read_text() for stage in ("dev", "prod"))

    assert dev.replace(f"cloister-{place}dev", f"cloister-{place}prod") == prod
    assert "prod" not in dev


@pytest.mark.parametrize("kind", KINDS)
def test_the_partitions_differ_in_how_bedrock_is_reached_only(kind: str) -> None:
    here, there = (
        [statement for statement in statements(f"policy-{stage}{kind}.json") if "Bedrock" not in statement["Sid"]]
        for stage in ("prod", "gov-prod")
    )

    assert json.loads(json.dumps(here).replace("cloister-prod", "cloister-gov-prod")) == there


def test_the_stages_of_a_partition_have_the_same_settings_but_for_names_and_size() -> None:
    stages = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]

    assert tuple(stages) == STAGES
    for stage in STAGES:
        fips = stages[stage]["environment_variables"].pop("AWS_USE_FIPS_ENDPOINT", None)
        assert fips == ("true" if stage.startswith("gov-") else None)
        named = json.dumps(stages[stage]).replace(f"-{stage}", "-STAGE")
        assert not re.search("cloister-(?!STAGE)|policy-(?!STAGE)", named)
        same_size = stages[stage.removeprefix("gov-")]
        assert named == json.dumps(same_size).replace(f"-{stage.removeprefix('gov-')}", "-STAGE")


def test_models_are_reached_by_the_two_invocations_and_by_a_name_of_ours() -> None:
    (models,) = [statement for statement in statements("policy-prod.json") if statement["Sid"] == "Models"]

    assert models["Action"] == ["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"]
    for reached in ("endpoint/cloister-chat", "inference-component/cloister-chat-8b"):
        assert any(
            fnmatchcase(f"arn:p:sagemaker:eu-west-1:123456789012:{reached}", each_) for each_ in models["Resource"]
        )


def test_the_doors_use_every_permission_they_have_and_need_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _everything_at_the_doors)

    assert asked == set(allowed("policy-prod.json", prefix))


def test_the_streaming_function_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _streaming)

    assert asked == set(allowed("policy-prod-streaming.json", prefix))


@pytest.mark.parametrize("stage", STAGES)
def test_the_streaming_function_may_do_nothing_that_the_doors_may_not(stage: str) -> None:
    """And so much less that whoever takes it over reads no ledger, opens no tenant and removes nobody's key."""
    streams, doors = _permissions(f"policy-{stage}-streaming.json"), _permissions(f"policy-{stage}.json")

    assert streams < doors
    on = {resource.rpartition(f"cloister-{stage}-")[2]: set[str]() for _, resource in streams if "table/" in resource}
    for action, resource in streams:
        if "table/" in resource:
            on[resource.rpartition(f"cloister-{stage}-")[2]].add(action.removeprefix("dynamodb:"))
    assert not on["tenancy"] & {"DeleteItem", "Scan"}
    assert "PutItem" not in on["meters"] and "Query" not in on["ledger"] and "heads" not in on


def test_the_reaper_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _reaping)

    assert asked == set(allowed("policy-prod-reaper.json", prefix))


def test_the_prober_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _probing)

    assert asked == set(allowed("policy-prod-prober.json", prefix))


@pytest.mark.parametrize("stage", STAGES)
def test_the_prober_writes_reports_and_samples_and_nothing_else_and_runs_no_model(stage: str) -> None:
    found = statements(f"policy-{stage}-prober.json")

    for statement in found:
        if "dynamodb:" in str(statement["Action"]):
            operator, partitions = LEADING_KEYS[statement["Sid"]]
            assert statement["Condition"] == {f"ForAllValues:{operator}": {"dynamodb:LeadingKeys": partitions}}
    # Those of a component would reach a model that sleeps.
    (models,) = [statement for statement in found if statement["Sid"] == "Models"]
    assert (models["Action"], models["Resource"]) == (
        "sagemaker:InvokeEndpoint", "arn:*:sagemaker:*:*:endpoint/cloister-*"
    )  # fmt: skip
    assert not [action for statement in found for action in each(statement["Action"]) if action.startswith("bedrock:")]


def test_the_publisher_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _publishing)

    assert asked == set(allowed("policy-prod-publisher.json", prefix))


def test_the_notary_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _signing)

    assert asked == set(allowed("policy-prod-notary.json", prefix))


def test_the_notary_alone_may_sign_or_add_to_the_heads_and_nobody_may_change_them() -> None:
    for policy in POLICIES:
        actions = {
            (action, resource)
            for statement in statements(policy)
            for action in each(statement["Action"])
            for resource in each(statement["Resource"])
        }
        heads = {action for action, resource in actions if resource.endswith("-heads")}
        kms = {action for action, _ in actions if action.startswith("kms:")}
        if "notary" in policy:
            assert (heads, kms) == ({"dynamodb:PutItem", "dynamodb:Query"}, {"kms:Sign"})
        else:
            by_the_clock = re.search("reaper|prober|publisher|usage|eraser", policy)
            reads = {"dynamodb:Scan"} if "eraser" in policy else {"dynamodb:Query"}
            assert heads <= reads and kms == (set() if by_the_clock else {"kms:GenerateDataKey", "kms:Decrypt"})


def test_what_rolls_usage_up_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, _rolling_up)

    assert asked == set(allowed("policy-prod-usage.json", prefix))


class Sandbox:
    """The stores of the gateway, through the recorder, and a clock."""

    def __init__(self, url: str, prefix: str) -> None:
        tables = reach_tables(url, prefix)
        self.tables = tables
        self.store = dynamodb(tables)
        self.meters = DynamoMeters(tables, REGION)
        self.documents = DynamoDocuments(tables)
        self.snapshots = Snapshots(self.documents, self.meters)
        self.ledger = DynamoLedger(tables, lambda tenant: self.snapshots.cached(tenant).tenant.retention_days)
        self.heads = DynamoHeads(tables)
        self.rollups = DynamoRollups(tables)
        keys = DataKeys(self.documents, MemoryKeys(os.urandom), lambda: NOW)
        self.contents = Contents(DynamoPieces(tables), keys, lambda: NOW, os.urandom)
        self.divisible = Divisible(
            self.meters, lambda: DynamoKeeping(tables, REGION), set_limits(self.documents), lambda: NOW, lambda: 1
        )
        self.admission = Admission(
            self.meters, self.ledger, lease_ms=90_000, region=REGION, spread=self.divisible.spread
        )
        self.tenancy = Tenancy(
            self.documents,
            self.divisible,
            lambda: NOW,
            lambda count: b"\x07" * count,
            on_limits=lambda tenant, _: self.divisible.divide(tenant),
        )

    def admit(self, number: int, tenant: str = "acme") -> Lease:
        return self.admission.admit(
            tenant=tenant,
            epoch=self.snapshots.fresh(tenant).epoch,
            limits=DEFAULT_LIMITS,
            units=Units(requests=1, tokens=10),
            lease_id=lease_id_of(NOW, number),
            now_ms=NOW,
        )


def _everything_at_the_doors(prepared: Sandbox, sandbox: Sandbox) -> None:
    tenancy, ledger = sandbox.tenancy, sandbox.ledger
    tenancy.put_pool(Pool("chat", (SageMaker("t", endpoint="cloister-chat"),)))
    tenancy.create_tenant(Tenant(id="new", name="New", pools=("chat",)))
    tenancy.create_tenant(Tenant(id="busy", name="Busy", limits=BUSY))
    sandbox.admit(3, "busy")
    tenancy.change_tenant("busy", Change(limits=DEFAULT_LIMITS))
    assert tenancy.tenants() and tenancy.pools()
    tenancy.change_tenant("acme", Change(name="Acme"))
    key, _ = tenancy.create_key("acme", "owner")
    assert tenancy.keys("acme")
    tenancy.revoke_key("acme", key.id)
    tenancy.people.put("acme", "someone", "owner")
    tenancy.people.put("acme", "another", "viewer")
    tenancy.people.remove("acme", "another")
    arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    tenancy.kms_keys.register("acme", arn)
    tenancy.kms_keys.remove("acme", arn.rpartition("/")[2])
    lease = sandbox.admit(1)
    sandbox.admission.renew(lease, NOW)
    sandbox.admission.settle(lease, entry_of(lease.lease_id, "completed"))
    sandbox.meters.reading("acme")
    ledger.find("acme", lease.lease_id)
    ledger.page("acme", 0, NOW + 1, None, 10)
    sandbox.heads.page("acme", "2026-11-18", "2026-11-19", None, 10)
    assert Usage(ledger, sandbox.rollups).groups("acme", 0, NOW + 1)
    sandbox.contents.claim("acme", "resp_1", NOW + DAY_MS)
    sandbox.contents.keep("acme", "resp_1", {"response": b"{}"}, NOW + DAY_MS)
    assert sandbox.contents.read("acme", "resp_1") and sandbox.contents.forget("acme", "resp_1")
    assert ledger.claim("acme", "digest", lease.lease_id, NOW, keep_ms=60_000) is None
    # The worker that comes back after its request was given up on.
    late = sandbox.admit(2)
    prepared.admission.reap(NOW + 91_000)
    assert sandbox.admission.settle(late, entry_of(late.lease_id, "completed")).late


def _streaming(prepared: Sandbox, sandbox: Sandbox) -> None:
    whole = Deployment(prepared.store)
    whole.clock.now_ms = NOW
    for pool, target in (("model-a", "a"), ("broken", "broken")):
        whole.pool(pool, target)
    prepared.tenancy.create_tenant(Tenant(id="busy", name="Busy", limits=BUSY))
    sandbox.admit(3, "busy")
    prepared.tenancy.change_tenant("acme", Change(pools=("model-a", "broken")))
    everything_that_streams(Deployment(sandbox.store, answers), whole.key("acme"))
    late = sandbox.admit(2)
    sandbox.admission.renew(late, NOW)
    prepared.admission.reap(NOW + 91_000)
    assert sandbox.admission.settle(late, entry_of(late.lease_id, "completed")).late


def _permissions(policy: str) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for statement in statements(policy)
        for action in each(statement["Action"])
        for resource in each(statement["Resource"])
    }


def _reaping(prepared: Sandbox, sandbox: Sandbox) -> None:
    prepared.admit(1)
    assert sandbox.admission.reap(NOW + 91_000) == 1


def _probing(prepared: Sandbox, sandbox: Sandbox) -> None:
    reports = Reports(sandbox.documents, REGION, lambda: NOW, max_age_ms=2_000, patience_s=PATIENCE_S)
    assert sandbox.tenancy.pools() == []
    reports.keep(summary({}, 0, NOW))
    boards = Boards(sandbox.documents, sandbox.store.days, REGION, lambda: NOW, ())
    prepared.documents.put(Document(STATUS, "components", '[{"id":"x","name":"X","watches":"pools","pools":["x"]}]'))
    target = SageMaker("t", endpoint="cloister-chat")
    asked = probing.Asked({"x": Pool("x", (target,))}, {target.probe_place: True})
    assert probing.sample(boards, Questions(Egress(), lambda _: None, {}), asked, NOW).runs


def _publishing(prepared: Sandbox, sandbox: Sandbox) -> None:
    assert Boards(sandbox.documents, sandbox.store.days, REGION, lambda: NOW, ()).read().status == "unknown"
    subscribers = Subscribers(sandbox.documents)
    Subscribers(prepared.documents).ask("ada@acme.example", "192.0.2.1", NOW, os.urandom)
    ((subscriber, version),) = subscribers.all()
    subscribers.put(subscriber, version)
    subscribers.delete(subscriber, version + 1)


def _signing(prepared: Sandbox, sandbox: Sandbox) -> None:
    lease = prepared.admit(1)
    prepared.admission.settle(lease, entry_of(lease.lease_id, "completed"))
    tenants = [tenant.id for tenant in sandbox.tenancy.tenants()]
    notary = Notary(sandbox.ledger, sandbox.heads, lambda _: b"signature")
    assert notary.sign_due(tenants, NOW + DAY_MS + SETTLED_MS) == 1


def _rolling_up(prepared: Sandbox, sandbox: Sandbox) -> None:
    lease = prepared.admit(1)
    prepared.admission.settle(lease, entry_of(lease.lease_id, "completed"))
    roller = Roller(sandbox.ledger, sandbox.ledger, sandbox.rollups)
    assert (
        roller.run(lambda: [tenant.id for tenant in sandbox.tenancy.tenants()], NOW + DAY_MS) == 2
    )  # an hour and its day


def exercised(stores: Served, exercise: Any) -> tuple[str, Asked]:
    prefix = prefix_of(fresh_tables(stores.url("local")))
    prepared = Sandbox(stores.url("local"), prefix)
    prepared.tenancy.create_tenant(Tenant(id="acme", name="Acme"))
    with recorder(stores.url("local")) as (asked, url):
        exercise(prepared, Sandbox(url, prefix))
    return prefix, asked


def entry_of(lease_id: str, outcome: Any) -> Entry:
    used = Units(requests=1, tokens=3)
    return Entry(
        tenant="acme", lease_id=lease_id, request_id=lease_id, outcome=outcome, reason="", used=used, charged=used,
        admitted_ms=NOW, settled_ms=NOW, region=REGION,
    )  # fmt: skip
