"""Our signature is botocore's, whatever is signed."""

import datetime
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.signature import Credentials, signed

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
WORDS = st.text(VISIBLE, min_size=1, max_size=40)
SAID = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
SEGMENT = st.text("abcXYZ019-_~:%+,@$!'()* ", min_size=1, max_size=12)
NAMES = st.sampled_from(
    ["Content-Type", "X-Amz-Target", "Accept", "X-Amzn-SageMaker-Custom-Attributes", "x-amzn-bedrock-trace", "Z-Last"]
)
KEY = Credentials("AKIAEXAMPLE", "secret", "session")
MOMENTS = st.datetimes(datetime.datetime(2001, 1, 1), datetime.datetime(2199, 12, 31))


def theirs(
    url: str, headers: dict[str, str], body: bytes, region: str, service: str, credentials: Credentials, date: str
) -> dict[str, str]:
    request = botocore.awsrequest.AWSRequest("POST", url, headers, body)
    key = botocore.credentials.Credentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    signer = botocore.auth.SigV4Auth(key, service, region)
    # add_auth, with another clock than the machine's.
    request.context["timestamp"] = date
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return dict(request.headers.items())


@given(
    body=st.binary(max_size=2_000),
    headers=st.dictionaries(NAMES, SAID, max_size=5),
    segments=st.lists(SEGMENT, max_size=4),
    host=st.sampled_from(["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1:8000", "[::1]:4566", "bedrock:81"]),
    region=st.sampled_from(["us-east-1", "us-gov-west-1", "eu-central-2"]),
    service=st.sampled_from(["dynamodb", "sagemaker", "bedrock"]),
    credentials=st.builds(Credentials, WORDS, st.text(min_size=1, max_size=40), WORDS | st.just("")),
    now=MOMENTS,
)
def test_it_is_botocores_for_all_that_we_could_send(
    body: bytes,
    headers: dict[str, str],
    segments: list[str],
    host: str,
    region: str,
    service: str,
    credentials: Credentials,
    now: datetime.datetime,
) -> None:
    path = "/" + "/".join(quote(segment, safe="~") for segment in segments)
    now_ms = round(now.replace(microsecond=0, tzinfo=datetime.UTC).timestamp()) * 1_000
    ours = signed(
        host, path, headers, body, region=region, service=service, credentials=credentials, now_ms=now_ms + 999
    )
    date = now.strftime("%Y%m%dT%H%M%SZ")
    assert ours == theirs(f"http://{host}{path}", headers, body, region, service, credentials, date)


def test_what_is_no_ascii_is_not_signed() -> None:
    with pytest.raises(ValueError, match="ascii"):
        signed("host", "/", {"Accept": "é"}, b"", region="r", service="s", credentials=KEY, now_ms=0)


def test_nothing_of_a_credential_is_in_its_repr() -> None:
    assert repr(KEY) == "Credentials(...)"
