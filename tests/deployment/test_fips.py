"""In GovCloud every service of AWS is reached at an endpoint that is validated for FIPS 140."""

import os
from typing import Any, get_args

import pytest

from chalicelib.aws_address import Service, address
from infra.finish_package import SERVICES
from tests import aws_descriptions
from tests.deployment.packages import FUNCTIONS, Package

IN_GOVCLOUD = ("us-gov-west-1", "us-gov-east-1")
# https://aws.amazon.com/compliance/fips: in GovCloud it has one endpoint, which is validated.
ALWAYS = {"sts"}
# Where Bedrock has such endpoints for a gateway in GovCloud that calls it across the partition.
COMMERCIAL = ("us-east-1", "us-east-2", "us-west-2")


@pytest.fixture
def environment(gov_prod: Package, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of every function, as far as AWS's SDKs look at it."""
    by_function = [gov_prod.function(name)["Environment"]["Variables"] for name in FUNCTIONS]
    assert [each.get("AWS_USE_FIPS_ENDPOINT") for each in by_function] == ["true"] * len(FUNCTIONS)
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    return {"AWS_USE_FIPS_ENDPOINT": "true"}


@pytest.mark.parametrize("region", IN_GOVCLOUD)
def test_botocore_reaches_every_service_that_we_call_so(environment: dict[str, Any], region: str) -> None:
    for service in SERVICES:
        assert "-fips." in _reached(service, region) or service in ALWAYS, service


@pytest.mark.parametrize("region", COMMERCIAL)
def test_bedrock_across_the_partition_is_reached_so_too(environment: dict[str, Any], region: str) -> None:
    for service in ("bedrock", "bedrock-runtime", "sts"):
        assert "-fips." in _reached(service, region), service


@pytest.mark.parametrize("region", IN_GOVCLOUD)
def test_our_own_connection_to_dynamodb_goes_so_too(environment: dict[str, Any], region: str) -> None:
    assert address("dynamodb", region, environment) == f"https://dynamodb-fips.{region}.amazonaws.com"


@pytest.mark.parametrize("fips", ["true", "false"])
@pytest.mark.parametrize("region", [*COMMERCIAL, "eu-west-1", "af-south-1", *IN_GOVCLOUD])
@pytest.mark.parametrize("service", get_args(Service))
def test_our_own_connections_go_where_botocores_would(
    monkeypatch: pytest.MonkeyPatch, service: Service, region: str, fips: str
) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", fips)
    # Otherwise botocore asks for S3 in us-east-1 where it was before there were regions.
    monkeypatch.setenv("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "regional")
    assert address(service, region, os.environ) == _reached(service, region)


@pytest.mark.parametrize("service", get_args(Service))
def test_whoever_names_another_address_is_followed(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    for variable in ("AWS_ENDPOINT_URL", f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"):
        monkeypatch.setenv(variable, f"http://localhost:1/{variable.lower()}")
        assert address(service, "eu-west-1", os.environ) == _reached(service, "eu-west-1") == os.environ[variable]


def test_elsewhere_nothing_changes(dev: Package) -> None:
    assert not [name for name in FUNCTIONS if "AWS_USE_FIPS_ENDPOINT" in dev.function(name)["Environment"]["Variables"]]


def _reached(service: str, region: str) -> str:
    session = aws_descriptions.session()
    session.set_credentials("AKIAEXAMPLEEXAMPLE00", "example")
    url: str = session.create_client(service, region_name=region).meta.endpoint_url
    return url
