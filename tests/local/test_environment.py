"""No process of the local system finds what it has no use for: not a key, not the name of a secret."""

import argparse
import sys
from collections.abc import Iterator, Mapping

import pytest

from local import environment
from serving import settings
from tests.local.pids import family
from tests.local_system import DEADLINE, PLANTED, RunningSystem, environment_of

LIBRARIES = {
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"),
    *("AWS_REGION", "AWS_DEFAULT_REGION"),
}
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
GATEWAY = {
    *LIBRARIES,
    *KEYS,
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    *("CLOISTER_TICKET_SECRET", "CLOISTER_AUDIT_KEY", "CLOISTER_CONTENT_KEY"),
    *("CLOISTER_ISSUER", "CLOISTER_ISSUER_CLIENT_IDS", "CLOISTER_ISSUER_SCOPES"),
    *("CLOISTER_SIGNIN_CLIENT_ID",),
    *("CLOISTER_PUBLIC_URL", "CLOISTER_MAIL_SENDER", "CLOISTER_BROWSER_CLIENT_ID", "CLOISTER_TERMINAL_CLIENT_ID"),
    *DEADLINE,
    *("no_proxy", "NO_PROXY"),
}
SEEN = {
    "cloud": LIBRARIES,
    "bedrock": LIBRARIES,
    "enclave": LIBRARIES | KEYS,
    "gateway": GATEWAY,
    "scheduler": GATEWAY,
    "container-demo": set[str](),
    "container-embed": set[str](),
    "container-multi": set[str](),
}
"""What each finds besides what any program does."""
ANY = {*environment.MACHINE, "PYTHONUNBUFFERED"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


@linux
def test_every_process_finds_what_it_needs_and_nothing_more(running_system: RunningSystem) -> None:
    pids = running_system.pids()
    assert set(pids) == set(SEEN)
    for name, pid in pids.items():
        found = environment_of(pid)
        assert set(found) - ANY - {*environment.PROXIES, *environment.AUTHORITIES} == SEEN[name], name
        assert PLANTED not in found.values()


@linux
def test_the_operators_keys_are_the_gateways_and_the_schedulers_alone(running_system: RunningSystem) -> None:
    secret = running_system.env["AWS_SECRET_ACCESS_KEY"]
    theirs = {name for name, pid in running_system.pids().items() if secret in environment_of(pid).values()}
    assert theirs == {"gateway", "scheduler"}
    everybodys = {running_system.api_key, running_system.admin_key}
    for pid in running_system.pids().values():
        assert not everybodys & set(environment_of(pid).values())


@linux
def test_what_a_container_starts_finds_no_more_than_it_does(running_system: RunningSystem) -> None:
    container = running_system.pids()["container-demo"]
    (_, *engines) = family(container)
    assert engines
    for pid in engines:
        assert set(environment_of(pid)) - set(environment_of(container)) == {"MALLOC_ARENA_MAX"}


class Asked(Mapping[str, str]):
    """An environment in which nothing is set, and which remembers what was looked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_each_setting_of_the_container_is_for_whoever_starts_the_system_or_is_given_as_a_flag() -> None:
    asked = Asked()
    assert isinstance(settings.parser(asked), argparse.ArgumentParser)
    given = {
        *("CLOISTER_HOST", "SAGEMAKER_BIND_TO_PORT", "CLOISTER_INSTANCE_ID", "CLOISTER_GRACE_S"),
        *("CLOISTER_ENCLAVE", "CLOISTER_ENCLAVE_IDENTITY", "CLOISTER_ENCLAVE_ROOT"),
    }
    assert asked.names == {*environment.TUNING, *given}


def test_what_a_person_has_set_reaches_the_process_it_is_for_and_no_other() -> None:
    ours = {
        "PATH": "/bin",
        "CLOISTER_THREADS": "2",
        "CLOISTER_LEASE_MS": "95000",
        "CLOISTER_TICKET_SECRET": "another",
        "HTTPS_PROXY": "http://me:secret@proxy.example",
        "SSL_CERT_FILE": "/etc/company.pem",
        "AWS_PROFILE": "work",
        "GITHUB_TOKEN": "secret",
    }
    account = dict.fromkeys(
        (
            *("url", "access_key_id", "secret_access_key", "audit_key_arn", "content_key_arn"),
            *("issuer", "client_ids", "machine_scope", "password_client", "web_client", "terminal_client"),
            *("enclave_access_key_id", "enclave_secret_access_key"),
        ),
        "made",
    )
    container, gateway = (
        environment.container(ours),
        environment.gateway(ours, account, "http://bedrock", "http://ours"),
    )
    theirs = {"container": container, "gateway": gateway, "enclave": environment.enclave(ours, account)}
    holders = {name: {each for each, env in theirs.items() if env.get(name) == value} for name, value in ours.items()}
    assert holders == {
        "PATH": {"container", "gateway", "enclave"},
        "CLOISTER_THREADS": {"container"},
        "CLOISTER_LEASE_MS": {"gateway"},
        "CLOISTER_TICKET_SECRET": set(),
        "HTTPS_PROXY": {"gateway"},
        "SSL_CERT_FILE": {"gateway"},
        "AWS_PROFILE": set(),
        "GITHUB_TOKEN": set(),
    }
    assert gateway["NO_PROXY"] == "127.0.0.1"
