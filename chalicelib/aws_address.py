"""Where AWS's services are, as its SDKs find them. A leaf: every room may import it."""

from collections.abc import Mapping
from typing import Literal

Service = Literal["dynamodb", "sagemaker-runtime", "bedrock-runtime", "s3", "sesv2"]


def address(service: Service, region: str, environment: Mapping[str, str]) -> str:
    """The URL that the environment names, or AWS's own (for FIPS 140), in the partitions `aws` and `aws-us-gov`."""
    variable = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
    named = environment.get(variable) or environment.get("AWS_ENDPOINT_URL")
    fips = "-fips" if environment.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true" else ""
    return named or f"https://{_host(service, region, fips)}.amazonaws.com"


def _host(service: Service, region: str, fips: str) -> str:
    if service == "sesv2":
        return f"email{fips}.{region}"
    if service != "sagemaker-runtime":
        return f"{service}{fips}.{region}"
    # In GovCloud it has one endpoint, which is validated (https://aws.amazon.com/compliance/fips).
    return f"runtime{'' if region.startswith('us-gov-') else fips}.sagemaker.{region}"
