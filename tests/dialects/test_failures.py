"""What a target's error becomes: its code where programs act on it, its text without the target's own names."""

import msgspec
import pytest

from chalicelib.dialects import failures
from chalicelib.engines.bedrock.failures import Failure, refusal
from chalicelib.engines.server_keys import Key, KeyedTarget
from chalicelib.pool import Bedrock, OpenAICompatible, SageMaker, Target
from chalicelib.refusal import CODES, EngineFailed, Malformed, Refusal

SERVER = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")
EXCEEDED = "context_length_exceeded"
VLLM = "This model's maximum context length is 4096 tokens."


def body(message: str, **members: object) -> bytes:
    return msgspec.json.encode({"error": {"message": message, **members}})


def refused(status: int, said: bytes, target: Target = SERVER) -> Refusal:
    return failures.of_status(status, said, target)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(400, body("Too long.", code=EXCEEDED), id="OpenAI"),
        pytest.param(
            400,
            body("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens", code=400),
            id="vLLM",
        ),
        pytest.param(
            400, body("The decoder prompt (length 5000) is longer than the maximum model length of 4096."), id="vLLM 2"
        ),
        pytest.param(
            400,
            msgspec.json.encode(
                {"object": "error", "message": "This model's maximum context length is 9 tokens.", "code": 400}
            ),
            id="vLLM of old",
        ),
        pytest.param(
            400, body("The input (9 tokens) is longer than the model's context length (8 tokens)."), id="SGLang"
        ),
        pytest.param(
            400,
            body("the request exceeds the available context size, try increasing it", type="exceed_context_size_error"),
            id="llama.cpp",
        ),
        pytest.param(500, body("too much", code=500, type="exceed_context_size_error"), id="llama.cpp of old"),
        pytest.param(
            500,
            body("input (600 tokens) is too large to process. increase the physical batch size", type="server_error"),
            id="llama.cpp, embeddings",
        ),
        pytest.param(
            422,
            msgspec.json.encode(
                {
                    "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
                    "error_type": "validation",
                }
            ),
            id="TGI",
        ),
        pytest.param(
            422, body("Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"), id="TGI 2"
        ),
    ],
)
def test_a_prompt_that_is_too_long_has_one_code_whatever_the_server_calls_it(status: int, said: bytes) -> None:
    for found in (refused(status, said), failures.in_stream(said, SERVER)):
        assert (type(found), found.code) == (Malformed, EXCEEDED)


@pytest.mark.parametrize(
    ("message", "lengths"),
    [
        (f"{VLLM} However, you requested 5000 tokens (4000 in the messages, 1000 in", (5_000, 4_096)),
        (f"{VLLM} However, your messages resulted in 5000 tokens.", (5_000, 4_096)),
        (f"{VLLM} However, your request has 5000 input tokens.", (5_000, 4_096)),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", (5_000, 4_096)),
        ("The input (9 tokens) is longer than the model's context length (8 tokens).", (9, 8)),
        ("request (6014 tokens) exceeds the available context size (2048 tokens), try increasing it", (6_014, 2_048)),
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", (5_000, 4_096)),
        ("Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", (2_000, 1_024)),
        ("This model's maximum context length is 9 tokens.", None),
        ("the request exceeds the available context size, try increasing it", None),
    ],
)  # fmt: skip
def test_how_long_a_prompt_is_and_may_be_is_read_where_the_server_says_it(
    message: str, lengths: tuple[int, int] | None
) -> None:
    assert refused(400, body(message, code=EXCEEDED)).prompt_over_context == lengths
    assert refused(400, body(f"Not that: {message}", code="content_filter")).prompt_over_context is None


@pytest.mark.parametrize(
    "message",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 227255 tokens > 200000 maximum",
        "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length",
        "The model returned the following errors: input length and `max_tokens` exceed context limit: 9 + 8 > 10",
        "This model's maximum context length is 8192 tokens. Please reduce the length of the prompt",
    ],
)
def test_a_prompt_that_is_too_long_for_bedrock_has_that_code(message: str) -> None:
    found = refusal(Failure("ValidationException", 400, message), Bedrock("b", region="us-east-1"))
    assert (type(found), found.code) == (Malformed, EXCEEDED)


@pytest.mark.parametrize("code", CODES)
def test_a_code_that_programs_act_on_survives_and_so_does_the_member_it_names(code: str) -> None:
    found = refused(400, body("No.", code=code, param="messages[0].content"))
    assert (type(found), found.code, found.field) == (Malformed, code, "messages[0].content")


@pytest.mark.parametrize("code", ["invalid_request", "my_own", 400, None, "", {"odd": 1}])
def test_no_other_code_is_passed_on(code: object) -> None:
    assert refused(400, body("No.", code=code)).code is None


@pytest.mark.parametrize("param", [None, 7, [], "", "x" * 65, "a b", "<b>"])
def test_a_member_is_named_only_where_it_can_be_one(param: object) -> None:
    assert refused(400, body("No.", param=param)).field is None


@pytest.mark.parametrize("status", [500, 502])
def test_a_fault_of_the_server_stays_one_and_is_not_quoted(status: int) -> None:
    found = refused(status, body("cuda out of memory", code="content_filter"))
    assert (type(found), found.text, found.code) == (EngineFailed, failures.FAILED, None)


@pytest.mark.parametrize(
    ("target", "said", "shown"),
    [
        (SageMaker("t", endpoint="embed"), "no embeddings of embed", "no embeddings of the model"),
        (SageMaker("t", endpoint="embed"), "embed-large, embedded, pre-embed", "embed-large, embedded, pre-embed"),
        (SageMaker("t", endpoint="e", component="e-1"), "e-1 of e: see e.", "the model of the model: see the model."),
        (SageMaker("t", endpoint="a.b"), "a.b and axb", "the model and axb"),
        (SERVER, "at http://10.0.0.7:8000/v1/chat", "at the model/chat"),
        (SERVER, '"http://10.0.0.7:8000/v1"', '"the model"'),
    ],
)
def test_addresses_are_hidden_and_nothing_else(target: Target, said: str, shown: str) -> None:
    assert refused(400, body(said), target).text == shown


SECRETS = ("tell me of my cancer", "sk-theirs-0123456789", "It is benign")


@pytest.mark.parametrize(
    ("status", "said", "symptom"),
    [
        (404, body("no such model", code="model_not_found"), "http 404 model_not_found"),
        (404, body("no such model", code=404, type="NotFoundError"), "http 404 NotFoundError"),
        (401, body("Wrong key: sk-theirs-0123456789", code="invalid_api_key"), "http 401 invalid_api_key"),
        (402, body("no money left", type="insufficient_quota"), "http 402 insufficient_quota"),
        (500, b"<html>It is benign</html>", "http 500"),
        (500, body("tell me of my cancer", code="tell me of my cancer", type="sk-theirs-0123456789"), "http 500"),
        (502, body("It is benign", code="sk-theirs-0123456789"), "http 502"),
        (504, body("tell me of my cancer", type="engine_timeout"), "http 504 engine_timeout"),
    ],
)  # fmt: skip
def test_operators_hear_the_status_and_a_word_that_servers_have_and_nothing_of_what_was_said(
    status: int, said: bytes, symptom: str
) -> None:
    refusal = refused(status, said)
    assert refusal.symptom == symptom
    assert not [secret for secret in SECRETS if secret in refusal.text + refusal.symptom]


@pytest.mark.parametrize(
    ("said", "symptom"),
    [
        (body("It is benign", type="server_error"), "error in the answer server_error"),
        (body("It is benign", type="It is benign"), "error in the answer"),
        (b"It is benign", "error in the answer"),
    ],
)
def test_an_error_in_place_of_an_answer_is_told_likewise(said: bytes, symptom: str) -> None:
    assert failures.in_stream(said, SERVER).symptom == symptom


@pytest.mark.parametrize(
    ("failure", "symptom"),
    [
        (Failure("AccessDeniedException", 403, "tell me of my cancer"), "AccessDeniedException"),
        (Failure("unreachable"), "unreachable"),
        (Failure("tell me of my cancer", 500, "It is benign"), ""),
    ],
)
def test_of_an_aws_service_operators_hear_its_code(failure: Failure, symptom: str) -> None:
    assert refusal(failure, Bedrock("b", region="us-east-1")).symptom == symptom


@pytest.mark.parametrize("around", ["{}", "key={}", "Bearer_{}", "x{}x", "a-{}-b", "{0}{0}", "'{}'", "{}_"])
@pytest.mark.parametrize("secret", ["sk-0123456789abcdef", "sk_a+/=.*(9876543"])
def test_a_key_is_hidden_wherever_it_stands(around: str, secret: str) -> None:
    target = KeyedTarget("t", url="https://a.b/v1", key=Key(secret))
    found = refused(400, body(f"Wrong header: {around.format(secret)}."), target).text
    assert secret not in found
    assert "the model" in found


def test_a_key_that_is_a_word_is_hidden_as_a_word() -> None:
    target = KeyedTarget("t", url="https://a.b/v1", key=Key("none"))
    assert refused(400, body("nonetheless: none"), target).text == "nonetheless: the model"
