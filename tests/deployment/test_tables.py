"""The tables' stack against the models that read and write them."""

from typing import Any

import pytest

from chalicelib.tables import ContentItem, HeadItem, LedgerItem, MeterItem, TenancyItem, UsageItem
from tests.deployment.stacks import template

MODELS = {
    "Tenancy": TenancyItem, "Meters": MeterItem, "Ledger": LedgerItem, "Heads": HeadItem, "Contents": ContentItem,
    "Usage": UsageItem,
}  # fmt: skip


def _resources() -> dict[str, Any]:
    found: dict[str, Any] = template("tables")["Resources"]
    return found


def test_there_is_a_table_for_every_model_and_no_other() -> None:
    names = {resource["Properties"]["TableName"]["Fn::Sub"] for resource in _resources().values()}

    assert names == {f"${{TablePrefix}}-{model.Meta.table_name}" for model in MODELS.values()}


@pytest.mark.parametrize("name", MODELS)
def test_keys_and_indexes_are_the_models(name: str) -> None:
    schema = MODELS[name]._get_schema()
    table = _resources()[name]["Properties"]

    assert table["TableName"]["Fn::Sub"].endswith(f"-{MODELS[name].Meta.table_name}")
    assert _keys(table["KeySchema"]) == _keys(schema["key_schema"])
    assert _types(table["AttributeDefinitions"]) == _types(schema["attribute_definitions"])
    assert {
        index["IndexName"]: (_keys(index["KeySchema"]), dict(index["Projection"]))
        for index in table.get("GlobalSecondaryIndexes", [])
    } == {
        index["index_name"]: (_keys(index["key_schema"]), index["projection"])
        for index in schema["global_secondary_indexes"]
    }


def test_the_ledger_what_is_kept_and_usage_forget_and_by_the_attribute_that_their_items_carry() -> None:
    forgetting = {
        name: resource["Properties"]["TimeToLiveSpecification"]
        for name, resource in _resources().items()
        if "TimeToLiveSpecification" in resource["Properties"]
    }

    by_ttl = {"AttributeName": "ttl", "Enabled": True}
    assert forgetting == {"Ledger": by_ttl, "Contents": by_ttl, "Usage": by_ttl}
    assert all("ttl" in MODELS[name].get_attributes() for name in forgetting)


@pytest.mark.parametrize("name", MODELS)
def test_no_table_is_lost_by_a_mistake(name: str) -> None:
    resource = _resources()[name]
    table = resource["Properties"]

    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert table["DeletionProtectionEnabled"] is True
    # What a tenant deletes of what was kept is to be gone, not to be recovered.
    recovers = name != "Contents"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": recovers}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["BillingMode"] == MODELS[name].Meta.billing_mode


def _keys(schema: Any) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in schema}


def _types(definitions: Any) -> dict[str, str]:
    return {definition["AttributeName"]: definition["AttributeType"] for definition in definitions}
