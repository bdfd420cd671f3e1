"""The command `cloister`, against a served gateway and a KMS that enforces policies."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloister.cli.__main__ import main
from cloister.key_policy import key_policy
from cloister.lint import lint
from emulators.security_module import PCRS, SimulatedSecurityModule
from sealed.measurements import Release, sign_manifest
from tests.client.callers import ANSWER, MODES, Place
from tests.client.gateways import API_KEY, PCR0, TENANT, Gateway, Json, now_ms, serving
from tests.emulators.kms.served import Served

GOV_KEY = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"
UNKNOWN_KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
ROLES = ["--principal", "arn:aws-us-gov:iam::123456789012:role/app", "--enclave-role", "arn:aws-us-gov:iam::1:role/e"]


class Terminal:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output, errors."""
        status = main(arguments)
        return (status, *self._capsys.readouterr())


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.fixture
def path(kms: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    """A key under the policy that is printed, its tenant's environment, and an enclave whose host has another role."""
    tenant, host, arn = kms.user(), kms.user(), kms.key()
    policy = key_policy([{0: PCR0}], tenant=[tenant.arn], administrators=[tenant.arn], enclave_role=host.arn)
    kms.kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(policy))
    access = kms.iam.create_access_key(UserName=tenant.arn.rsplit("/")[-1])["AccessKey"]
    kms.root.write_bytes(kms.authority.root_pem())
    # What the enclave is let do by its attestation, this one does by the tenant's key; the probe is real.
    gateway = Gateway(tenant.kms, host)
    gateway.authority = kms.authority
    gateway.module = SimulatedSecurityModule(kms.authority, clock=now_ms)
    with serving(gateway) as url:
        for name, value in {
            "XDG_CONFIG_HOME": str(tmp_path),  # where nobody has signed in
            "CLOISTER_BASE_URL": url,
            "CLOISTER_TENANT": TENANT,
            "CLOISTER_API_KEY": API_KEY,
            "CLOISTER_KMS_KEY_ARN": arn,
            "CLOISTER_ATTESTATION_ROOT": str(kms.root),
            "CLOISTER_PCR0": PCR0,
            "AWS_ENDPOINT_URL_KMS": kms.url,
            "AWS_ACCESS_KEY_ID": access["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": access["SecretAccessKey"],
        }.items():
            monkeypatch.setenv(name, value)
        yield Place(gateway, url, arn)


@pytest.mark.parametrize("mode", MODES)
def test_one_message_is_answered(path: Place, terminal: Terminal, mode: str) -> None:
    assert terminal.run("chat", "--mode", mode, "a secret question") == (0, ANSWER + " " * (mode != "kms") + "\n", "")
    assert not [seen for seen in path.gateway.sealed if b"secret" in seen.body]


def test_a_conversation_is_remembered(path: Place, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\n"))
    status, output, _ = terminal.run("chat", "--max-tokens", "9")
    assert (status, output.split()) == (0, ["You", "said:", "one", "You", "said:", "two"])
    last = path.gateway.opened[-1]
    assert [message["role"] for message in last["messages"]] == ["user", "assistant", "user"]
    assert last["max_tokens"] == 9


def test_an_answer_that_was_changed_ends_the_chat_in_one_sentence(path: Place, terminal: Terminal) -> None:
    path.gateway.tamper = lambda pieces: pieces[:3]
    status, _, errors = terminal.run("chat", "a secret question")
    assert status == 2
    assert errors.startswith("cloister: The answer ended before its end.")


def test_a_key_is_registered_listed_and_removed(path: Place, terminal: Terminal) -> None:
    assert terminal.run("keys", "list") == (0, "", "")
    status, output, _ = terminal.run("keys", "register", path.key_arn)
    assert (status, output) == (0, f"{path.key_arn} opens requests of {TENANT} from now on.\n")
    status, output, _ = terminal.run("keys", "list")
    assert output.startswith(path.key_arn)
    assert terminal.run("keys", "remove", path.key_arn)[0] == 0
    assert terminal.run("keys", "list")[1] == ""
    assert terminal.run("keys", "remove", path.key_arn) == (
        2,
        "",
        "cloister: The gateway answered 404: There is no such thing.\n",
    )


def test_the_enclave_is_shown_by_its_measurements(path: Place, terminal: Terminal) -> None:
    status, output, errors = terminal.run("attest")
    assert (status, errors) == (0, "")
    assert f"PCR0    {PCR0}" in output.splitlines()
    _, output, _ = terminal.run("attest", "--json", "--pool", "demo")
    told = json.loads(output)
    assert (told["pcrs"]["PCR0"], told["key_epoch"]) == (PCR0, "e-1")
    assert "-enc" in told["module_id"]


def test_an_enclave_that_is_not_the_trusted_one_is_not_shown(path: Place, terminal: Terminal) -> None:
    status, output, errors = terminal.run("attest", "--pcr", f"0={'ab' * 48}")
    assert (status, output) == (2, "")
    assert "measurements are not allowed" in errors


def test_without_measurements_the_enclave_is_shown_and_not_called_trusted(
    path: Place, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOISTER_PCR0")
    status, output, errors = terminal.run("attest")
    assert status == 0
    assert PCR0 in output
    assert "compared with no measurements" in errors
    assert terminal.run("chat", "a secret question")[0] == 2
    assert terminal.run("chat", "--any-enclave", "a secret question")[0] == 0


def test_a_signed_list_of_releases_says_whom_to_trust(path: Place, terminal: Terminal, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    manifest = tmp_path / "releases.json"
    manifest.write_bytes(sign_manifest([Release("1.0", {0: PCR0}, None)], now_ms(), key))
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    flags = ("--release-manifest", str(manifest), "--release-key", public)
    assert terminal.run("chat", *flags, "a secret question")[0] == 0
    assert json.loads(terminal.run("policy", path.key_arn, *flags)[1])["Statement"][-1]["Condition"]


def test_a_policy_is_printed_for_the_measurements_that_are_trusted(path: Place, terminal: Terminal) -> None:
    status, output, errors = terminal.run("policy", GOV_KEY, *ROLES)
    assert (status, errors) == (0, "")
    assert f'"kms:RecipientAttestation:PCR0": "{PCR0}"' in output
    assert "arn:aws:" not in output
    assert lint(output, GOV_KEY) == []
    assert path.gateway.attested == 0


def test_a_policy_is_printed_for_the_enclave_that_is_there(
    path: Place, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOISTER_PCR0")
    status, output, errors = terminal.run("policy", path.key_arn)
    assert status == 0
    assert lint(output, path.key_arn) == []
    assert all(f'"kms:RecipientAttestation:PCR{index}": "{PCRS[index].hex()}"' in output for index in (0, 1, 2))
    assert "--enclave-role" in errors
    assert "--principal" in errors


def test_the_doctor_finds_nothing_where_all_is_well(path: Place, terminal: Terminal) -> None:
    assert terminal.run("keys", "register", path.key_arn)[0] == 0
    status, output, errors = terminal.run("doctor")
    assert (status, errors) == (0, "")
    assert "a decryption without attestation was denied" in output


def test_the_doctor_proves_that_a_key_opens_without_attestation(kms: Served, path: Place, terminal: Terminal) -> None:
    assert terminal.run("keys", "register", path.key_arn)[0] == 0
    assert path.gateway.host is not None
    open_to_the_host = {"Effect": "Allow", "Principal": {"AWS": path.gateway.host.arn}, "Action": "kms:Decrypt"}
    _put(path, [{**open_to_the_host, "Sid": "Careless", "Resource": "*"}])
    kms.kms.create_grant(KeyId=path.key_arn, GranteePrincipal=kms.user().arn, Operations=["Decrypt"])
    status, output, _ = terminal.run("doctor")
    assert status == 1
    assert "error: unattested in Careless" in output
    assert "error: grant in grant" in output
    assert "error: opens-unattested in key" in output


def test_the_doctor_finds_a_key_that_is_closed_to_the_enclave(path: Place, terminal: Terminal) -> None:
    assert terminal.run("keys", "register", path.key_arn)[0] == 0
    path.gateway.module = SimulatedSecurityModule(
        path.gateway.authority, clock=now_ms, pcrs={0: b"another image".ljust(48)}
    )
    status, output, _ = terminal.run("doctor", path.key_arn, "--json", "--any-enclave")
    assert status == 1
    assert [finding["rule"] for finding in json.loads(output)] == ["closed-to-the-enclave"]


def test_the_doctor_believes_only_the_trusted_enclave_about_this_key(path: Place, terminal: Terminal) -> None:
    assert terminal.run("keys", "register", path.key_arn)[0] == 0
    kept: list[Json] = []

    def replay(told: Json) -> Json:
        kept.append(told)
        return kept[0]

    path.gateway.tell = replay
    assert terminal.run("doctor")[0] == 0
    status, _, errors = terminal.run("doctor")
    assert status == 2
    assert "nonce" in errors


@pytest.mark.parametrize(
    ("command", "missing", "said"),
    [
        (["chat", "x"], "CLOISTER_BASE_URL", "Set CLOISTER_BASE_URL or --base-url"),
        (["keys", "list"], "CLOISTER_TENANT", "Set CLOISTER_TENANT or --tenant"),
        (["doctor"], "CLOISTER_KMS_KEY_ARN", "Set CLOISTER_KMS_KEY_ARN or --kms-key-arn"),
        (["chat", "x"], "CLOISTER_PCR0", "Say which enclave you trust"),
        (["chat", "x"], "CLOISTER_API_KEY", "The gateway answered 401: The API key is not valid."),
        (["policy", "alias/mine"], "CLOISTER_TENANT", "Name the key by its full ARN"),
        (["attest", "--pcr", "0=abc"], "CLOISTER_PCR0", "96 hex digits"),
        (["attest", "--base-url", "http://127.0.0.1:1"], "CLOISTER_PCR0", "cannot be reached"),
        (["attest", "--base-url", "127.0.0.1:8000"], "CLOISTER_PCR0", "must be http(s)://HOST, without /tenants"),
        (["chat", "--any-enclave", "--base-url", "http://a/tenants/b/v1", "x"], "CLOISTER_PCR0", "without /tenants"),
        (["attest", "--attestation-root", "/nowhere"], "CLOISTER_PCR0", "The attestation root cannot be read"),
        (["keys", "list"], "CLOISTER_API_KEY", "The key is CLOISTER_API_KEY or --api-key."),
        (["chat", "x"], "CLOISTER_API_KEY", "The key is CLOISTER_API_KEY or --api-key."),
        (["keys", "register", UNKNOWN_KEY], "CLOISTER_KMS_KEY_ARN", "Check the key's ARN, and that its policy lets"),
        (["policy", GOV_KEY, "--principal", "me", "--enclave-role", "it"], "CLOISTER_PCR0", "arn:aws-us-gov:iam::…"),
        (["policy", GOV_KEY, *ROLES, "--admin", "arn:aws:iam::1:user/a"], "CLOISTER_PCR0", "arn:aws-us-gov:iam::…"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    path: Place, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, command: list[str], missing: str, said: str
) -> None:
    monkeypatch.delenv(missing)
    status, output, errors = terminal.run(*command)
    assert (status, output) == (2, "")
    assert said in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "known"),
    [([], "doctor"), (["ask"], "doctor"), (["admin"], "limits"), (["admin", "tenants"], "suspend")],
)
def test_whoever_names_no_command_is_shown_those_there_are(
    capsys: pytest.CaptureFixture[str], command: list[str], known: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert f"    {known} " in capsys.readouterr().err


def test_an_error_of_kms_names_the_operation_that_it_refused(path: Place, terminal: Terminal) -> None:
    for command, operation in ((["doctor", UNKNOWN_KEY], "GetKeyPolicy"), (["chat", "--mode", "kms", "x"], "Encrypt")):
        status, _, errors = terminal.run(*command, "--kms-key-arn", UNKNOWN_KEY)
        assert status == 2
        assert f"your credentials may use kms:{operation} with this key." in errors
        assert ".." not in errors


def test_whoever_reads_only_the_beginning_of_the_output_sees_no_traceback(path: Place) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cloister.cli", "chat", "a secret question"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (130, b"")


def _put(path: Place, more: list[Json]) -> None:
    kms = path.gateway.kms
    policy = json.loads(kms.get_key_policy(KeyId=path.key_arn, PolicyName="default")["Policy"])
    policy["Statement"] += more
    kms.put_key_policy(KeyId=path.key_arn, PolicyName="default", Policy=json.dumps(policy))
