"""What we seal opens with AWS's Encryption SDK for JavaScript, and the other way round, over one KMS."""

import io
import json
import os
import subprocess
from pathlib import Path

import pytest

from sealed import esdk
from tests import npm
from tests.patience import PATIENCE_S
from tests.sealed.served_kms import Client

NODE = Path(__file__).parent / "node"
REQUEST = esdk.request_context(tenant="acme", request_id="r-1")
RESPONSE = esdk.response_context(tenant="acme", request_id="r-1")
SUITES = [
    "ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY",
    "ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
]
SIZES = [0, 1, 1024, 4096, 10_000]


@pytest.fixture(scope="module")
def modules() -> Path:
    return npm.installed(NODE)


def node(modules: Path, *arguments: str, given: bytes) -> bytes:
    done = subprocess.run(
        ["node", str(NODE / "esdk.mjs"), *arguments],
        input=given,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "MODULES": str(modules)},
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout


@pytest.mark.parametrize("suite", SUITES, ids=["unsigned", "signed"])
@pytest.mark.parametrize("size", SIZES)
def test_a_request_sealed_in_javascript_opens_here(modules: Path, kms: Client, suite: str, size: int) -> None:
    arn, secret = kms.create_key(), os.urandom(size)
    message = node(modules, "seal", kms.endpoint, arn, json.dumps(REQUEST), "4096", suite, given=secret)
    assert esdk.open(kms, arn, REQUEST, message) == secret


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_sealed_here_opens_in_javascript(modules: Path, kms: Client, size: int) -> None:
    arn, secret = kms.create_key(), os.urandom(size)
    message = esdk.seal(kms, arn, RESPONSE, secret)
    assert node(modules, "open", kms.endpoint, arn, json.dumps(RESPONSE), given=message) == secret


def test_a_stream_sealed_here_opens_in_javascript(modules: Path, kms: Client) -> None:
    arn = kms.create_key()
    sealer = esdk.Sealer(kms, arn, RESPONSE)
    pieces = [os.urandom(1024), os.urandom(300), b"", os.urandom(5000)]
    message = b"".join(sealer.seal(piece, final=False) for piece in pieces) + sealer.seal(b"", final=True)
    assert node(modules, "open", kms.endpoint, arn, json.dumps(RESPONSE), given=message) == b"".join(pieces)


def test_a_stream_sealed_in_javascript_opens_here_frame_by_frame(modules: Path, kms: Client) -> None:
    arn, secret = kms.create_key(), os.urandom(3000)
    message = node(modules, "seal", kms.endpoint, arn, json.dumps(RESPONSE), "1024", SUITES[0], given=secret)
    pieces = list(esdk.Opener(kms, arn, RESPONSE, io.BytesIO(message)).pieces())
    assert [len(piece) for piece in pieces] == [1024, 1024, 952]
    assert b"".join(pieces) == secret
