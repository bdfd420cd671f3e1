"""The template that is deployed: what `make package` makes, transformed as CloudFormation does it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.session import Session
from samtranslator.translator.transform import transform

import app
from chalicelib import settings
from chalicelib.http import problems
from chalicelib.http.route_table import ROUTES
from tests.deployment.packages import FUNCTIONS, ROOT, Package, uploaded

STACKS = sorted((ROOT / "infra").glob("*.yaml"))
DEPLOYED_IN = ["us-east-1", "us-gov-west-1"]


def test_cfn_lint_finds_nothing_to_say(packaged: Package) -> None:
    assert _lint("--regions", *DEPLOYED_IN, "--", packaged.folder / "template.json", *STACKS) == ""


def test_cfn_lint_would_find_something(dev: Package, tmp_path: Path) -> None:
    broken = uploaded(dev.template)
    broken["Resources"]["Streaming"]["Properties"]["Layers"] = [{"Ref": "NoSuchParameter"}]
    (tmp_path / "broken.json").write_bytes(msgspec.json.encode(broken))

    assert "NoSuchParameter" in _lint(tmp_path / "broken.json")


def test_the_sam_translator_makes_plain_cloudformation_of_it(gov_prod: Package, tmp_path: Path) -> None:
    plain = _transformed(gov_prod)

    assert "Transform" not in plain
    assert not [name for name, resource in plain["Resources"].items() if "Serverless" in resource["Type"]]
    (tmp_path / "plain.json").write_bytes(msgspec.json.encode(plain))
    assert _lint(tmp_path / "plain.json") == ""


def test_no_second_stage_is_opened(packaged: Package) -> None:
    resources = _transformed(packaged)["Resources"].values()

    stages = [resource["Properties"]["StageName"] for resource in resources if resource["Type"].endswith("::Stage")]
    assert stages == ["api"]
    deployments = [resource for resource in resources if resource["Type"] == "AWS::ApiGateway::Deployment"]
    assert [deployment["Properties"].get("StageName") for deployment in deployments] == [None]


def test_the_template_has_no_aliases_and_fits_a_direct_update(packaged: Package) -> None:
    assert (packaged.folder / "template.json").stat().st_size < 1_000_000  # CloudFormation's limit, from a bucket
    assert not (packaged.folder / "sam.yaml").exists()


def test_every_route_is_served_and_nothing_else(packaged: Package) -> None:
    paths = packaged.definition["paths"]

    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == {
        *((route.method, route.resource) for route in ROUTES),
        *(("HEAD", route.resource) for route in ROUTES if route.method == "GET"),
        *(("OPTIONS", route.resource) for route in ROUTES if route.path.startswith("/tenants/{tenant}")),
    }


def test_browsers_ask_without_a_key_whether_a_page_may_call(packaged: Package) -> None:
    for path, methods in packaged.definition["paths"].items():
        if "options" in methods:
            integration = methods["options"]["x-amazon-apigateway-integration"]
            assert integration["uri"]["Fn::Sub"].endswith("/2015-03-31/functions/${APIHandler.Arn}/invocations"), path
            assert "security" not in methods["options"], path


def test_head_is_let_in_as_get_is(packaged: Package) -> None:
    for path, methods in packaged.definition["paths"].items():
        if "get" in methods:
            assert methods["head"].get("security") == methods["get"].get("security"), path


def test_routes_that_run_a_model_stream_and_the_others_do_not(packaged: Package) -> None:
    for route in ROUTES:
        integration = packaged.definition["paths"][route.resource][route.method.lower()][
            "x-amazon-apigateway-integration"
        ]
        uri = integration["uri"]["Fn::Sub"]
        assert integration["type"] == "aws_proxy" and integration["httpMethod"] == "POST"
        if route.infers:
            assert integration["responseTransferMode"] == "STREAM"
            assert integration["timeoutInMillis"] == 900_000
            assert uri.endswith("/2021-11-15/functions/${Streaming.Arn}/response-streaming-invocations")
        else:
            assert "responseTransferMode" not in integration
            assert uri.endswith("/2015-03-31/functions/${APIHandler.Arn}/invocations")


def test_what_was_found_to_stream_are_the_inference_routes() -> None:
    assert {route.path for route in ROUTES if route.infers} == {
        "/inference",
        "/tenants/{tenant}/v1/chat",
        "/tenants/{tenant}/v1/chat/completions",
        "/tenants/{tenant}/v1/completions",
        "/tenants/{tenant}/v1/embeddings",
        "/tenants/{tenant}/v1/messages",
        "/tenants/{tenant}/v1/messages/count_tokens",
        "/tenants/{tenant}/v1/responses",
        "/v1/bedrock/invoke-model",
        *(
            f"{base}/v1/bedrock/model/{{model}}/{way}"
            for base in ("", "/tenants/{tenant}")
            for way in ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
        ),
    }


def test_every_parameter_of_a_path_is_declared(packaged: Package) -> None:
    for path, methods in packaged.definition["paths"].items():
        for name, method in methods.items():
            declared = {each["name"] for each in method.get("parameters", ()) if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)\+?}", path)), (name, path)


def test_binary_answers_pass_api_gateway_whatever_the_client_accepts(packaged: Package) -> None:
    """It looks at the first type of Accept alone, which is */* in most clients; so every type is binary to it."""
    assert packaged.definition["x-amazon-apigateway-binary-media-types"] == ["*/*"]


def test_admin_routes_want_a_signature_and_no_others_do(packaged: Package) -> None:
    for route in ROUTES:
        method = packaged.definition["paths"][route.resource][route.method.lower()]
        wanted: list[dict[str, list[str]]] | None = (
            [{"sigv4": []}] if route.auth in ("signed", "signed_or_key") else None
        )
        assert method.get("security") == wanted, route.path
    assert packaged.definition["securityDefinitions"]["sigv4"]["x-amazon-apigateway-authtype"] == "awsSigv4"


def test_operators_may_call_exactly_the_admin_routes(packaged: Package) -> None:
    (statement,) = packaged.resources["OperatorPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    _, _, allowed = statement["Resource"]["Fn::Sub"].partition("${RestAPI}")
    pattern = re.compile(re.escape(allowed).replace(r"\*", ".*"))

    for route in ROUTES:
        called = f"/api/{route.method}{re.sub('{.*?}', 'x', route.path)}"
        assert bool(pattern.fullmatch(called)) == route.path.startswith("/admin/"), called


def test_a_long_stream_is_not_cut_by_the_edge(packaged: Package) -> None:
    """Edge-optimised endpoints drop a stream that is silent for 30 s; regional ones wait for 5 minutes."""
    assert packaged.resources["RestAPI"]["Properties"]["EndpointConfiguration"] == "REGIONAL"


def test_the_streaming_function_is_the_adapter_before_the_same_code(packaged: Package) -> None:
    streaming, handler = packaged.function("Streaming"), packaged.function("APIHandler")
    variables = streaming["Environment"]["Variables"]

    assert (streaming["Runtime"], streaming["CodeUri"]) == (handler["Runtime"], handler["CodeUri"])
    assert streaming["Layers"] == [{"Ref": "WebAdapterLayerArn"}]
    assert streaming["Timeout"] == 900
    assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/bootstrap"
    assert variables["AWS_LWA_INVOKE_MODE"] == "response_stream"
    assert "Layers" not in handler


def test_callers_speak_tls_1_2_at_least_and_fips_in_govcloud(dev: Package, gov_prod: Package) -> None:
    """By default a regional API takes TLS 1.0. The names are those that API Gateway's own model knows."""
    known = Session().get_service_model("apigateway").shape_for("SecurityPolicy").enum
    for packaged, partition, fips in ((dev, "aws", False), (gov_prod, "aws-us-gov", True)):
        api = _transformed(packaged)["Resources"]["RestAPI"]["Properties"]
        _, by_partition, given = api["SecurityPolicy"]["Fn::If"]
        assert (given, api["EndpointAccessMode"]) == ({"Ref": "TlsPolicy"}, "STRICT")
        (name, _, member) = by_partition["Fn::FindInMap"]
        policy = packaged.template["Mappings"][name][partition][member]
        assert policy in known and policy.startswith("SecurityPolicy_TLS13_1_2")
        assert ("FIPS" in policy) == fips and "PFS_PQ" in policy
        allowed = packaged.template["Parameters"]["TlsPolicy"]["AllowedValues"]
        assert set(allowed) - {""} <= set(known) and not [each for each in allowed if "EDGE" in each]


def test_api_gateway_may_call_both_functions(packaged: Package) -> None:
    permissions = [
        resource["Properties"]
        for resource in packaged.resources.values()
        if resource["Type"] == "AWS::Lambda::Permission"
    ]
    assert {permission["FunctionName"]["Ref"] for permission in permissions} == {"APIHandler", "Streaming"}
    assert {permission["Action"] for permission in permissions} == {"lambda:InvokeFunction"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_each_function_has_settings_that_end_an_answer_before_lambda_does(packaged: Package, name: str) -> None:
    function = packaged.function(name)
    variables = {name: str(value) for name, value in function["Environment"]["Variables"].items()}

    read = settings.read(variables)

    assert read.table_prefix == f"cloister-{packaged.stage}"
    known = {f"CLOISTER_{field.upper()}" for field in settings.Settings.__struct_fields__}
    assert {variable for variable in variables if variable.startswith("CLOISTER_")} <= known
    if name != "Reaper":
        # What Lambda kills settles nothing; so there is time left to do it.
        assert read.answer_deadline_ms + 2_000 <= function["Timeout"] * 1_000
        assert read.idle_deadline_ms < read.answer_deadline_ms


def test_every_function_is_there_with_a_log_that_ends(packaged: Package) -> None:
    functions = {
        name for name, resource in packaged.resources.items() if resource["Type"] == "AWS::Serverless::Function"
    }
    groups = [
        resource["Properties"] for resource in packaged.resources.values() if resource["Type"] == "AWS::Logs::LogGroup"
    ]
    assert functions == FUNCTIONS
    assert {group["LogGroupName"]["Fn::Sub"] for group in groups} == {f"/aws/lambda/${{{name}}}" for name in FUNCTIONS}
    assert all(group["RetentionInDays"] for group in groups)


def test_the_reaper_runs_every_minute(packaged: Package) -> None:
    (event,) = packaged.function("Reaper")["Events"].values()

    assert event["Properties"]["Schedule"] == "rate(1 minute)"
    assert packaged.function("Reaper")["Handler"] == "app.reap" and callable(app.reap)


def test_the_targets_are_asked_every_minute(packaged: Package) -> None:
    (event,) = packaged.function("Prober")["Events"].values()

    assert event["Properties"]["Schedule"] == "rate(1 minute)"
    assert packaged.function("Prober")["Handler"] == "app.probe" and callable(app.probe)


def test_what_api_gateway_refuses_by_itself_looks_like_a_problem_of_ours(packaged: Package) -> None:
    pages = {kind.name: kind for kind in (*problems.KINDS.values(), problems.FAULT)}
    answers = packaged.definition["x-amazon-apigateway-gateway-responses"]

    for name, answer in answers.items():
        (template,) = answer["responseTemplates"].values()
        problem = msgspec.json.decode(template, type=problems.Problem)
        kind = pages[problem.type.removeprefix(f"{problems.PAGES}/")]
        assert (problem.title, problem.status) == (kind.title, kind.status), name
        assert answer["statusCode"] == str(problem.status), name
        assert problem.request_id == "$context.requestId", name
        assert msgspec.json.decode(template)["message"] == problem.detail, name  # which AWS's SDKs show
        headers = answer["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'", name
        assert headers["gatewayresponse.header.X-Request-ID"] == "context.requestId", name
        assert ("gatewayresponse.header.Retry-After" in headers) == (problem.status == 429), name
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'", name
        assert "gatewayresponse.header.Access-Control-Allow-Credentials" not in headers, name


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", "404"),  # an unknown path
        ("ACCESS_DENIED", "403"),
        ("UNAUTHORIZED", "401"),
        ("INVALID_SIGNATURE", "401"),
        ("EXPIRED_TOKEN", "401"),
        ("REQUEST_TOO_LARGE", "413"),
        ("THROTTLED", "429"),
        ("INTEGRATION_TIMEOUT", "504"),
        ("DEFAULT_4XX", "400"),
        ("DEFAULT_5XX", "500"),
    ],
)
def test_api_gateways_refusals_have_our_status(dev: Package, response: str, status: str) -> None:
    assert dev.definition["x-amazon-apigateway-gateway-responses"][response]["statusCode"] == status


def test_a_partition_is_named_nowhere(packaged: Package) -> None:
    text = (packaged.folder / "template.json").read_text()
    assert not re.search(r"arn:aws(-[a-z-]+)?:", text)


def _transformed(packaged: Package) -> dict[str, Any]:
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    layer = "arn:aws:lambda:us-east-1:123456789012:layer:Adapter:1"
    plain: dict[str, Any] = transform(uploaded(packaged.template), {"WebAdapterLayerArn": layer}, _NoManagedPolicies())
    return plain


def _lint(*arguments: str | Path) -> str:
    """What cfn-lint says, warnings too."""
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return done.stdout


class _NoManagedPolicies:
    """The translator asks for AWS's managed policies by name; the template names none."""

    def load(self) -> dict[str, str]:
        return {}
