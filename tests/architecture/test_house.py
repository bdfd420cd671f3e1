"""The house keeps its shape: arrows, outsiders, names and sizes (docs/architecture.md).

The tables say what holds; how it is looked for stands in `lints`, which have tests of their own.
"""

from collections.abc import Iterable
from pathlib import Path

from tests.architecture import lints

ROOT = Path(__file__).parents[2]

LEAVES = {
    *("call", "pool", "refusal", "clock", "randomness", "partition", "settings", "sight"),
    *("aws_client", "store_window", "aws_credentials", "aws_address", "signature"),
}
ARROWS = {
    "api": {
        *("http", "inference", "identity", "tenancy", "admission", "engines", "dialects", "ledger", "tickets"),
        *(
            "contents",
            "placement",
            "egress",
            "journal",
            "passwords",
            "privacy",
            "usage",
            "velocity",
            "status",
            "wiring",
        ),
    },
    "http": {"inference", "identity", "tenancy", "admission", "ledger", "journal", "wiring"},
    "wiring": {
        *("inference", "identity", "tenancy", "documents", "admission", "placement", "engines", "ledger", "tickets"),
        *("contents", "dynamodb", "egress", "journal", "passwords", "privacy", "usage", "velocity", "status"),
    },
    "schedules": {"wiring", "dynamodb", "privacy", "status", "ledger", "journal", "tenancy", "usage"},
    "usage": {"ledger", "dynamodb"},
    "status": {"placement", "identity", "documents", "dynamodb", "egress", "http1"},
    "privacy": {"documents", "dynamodb", "ledger", "tenancy"},
    "velocity": {"tenancy", "documents", "dynamodb"},
    "inference": {
        *("identity", "tenancy", "admission", "placement", "dialects", "ledger", "tickets", "guardrails", "velocity"),
    },
    "guardrails": {"dialects"},
    "identity": {"tenancy", "egress", "http1"},
    "tenancy": {"admission", "documents"},
    "documents": {"tables", "dynamodb"},
    "contents": {"documents", "dynamodb"},
    "tickets": set(),
    "admission": {"ledger", "dynamodb"},
    "ledger": {"dynamodb"},
    "journal": {"ledger"},
    "passwords": {"identity", "tenancy", "dynamodb"},
    "placement": {"engines", "documents"},
    "engines": {"dialects", "http1"},
    "dialects": set(),
    "tables": {"dynamodb"},
    "dynamodb": {"http1"},
    "egress": {"http1"},
    "http1": set(),
} | {leaf: set() for leaf in LEAVES}
OUTSIDERS = {
    outsider: {f"chalicelib/{path}.py" for path in paths}
    for outsider, paths in {
        "httptools": ("http1/parsing",),
        "joserfc": ("identity/tokens/keys",),
        "pynamodb": ("tables", "documents/managed"),
        "botocore": (
            *("aws_client", "aws_credentials", "tickets/secret", "ledger/signature", "contents/kms"),
            *("engines/secrets_manager", "passwords/cognito"),
            *(f"engines/bedrock/{name}" for name in ("control", "credentials")),
        ),
        "aws_lambda_powertools": ("sight/powertools", "sight/xray"),
        "aws_xray_sdk": ("sight/xray",),
        "opentelemetry": ("sight/otlp",),
        "chalice": ("http/doors", "http/surface"),
    }.items()
}
BANNED = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "managers"}
PURE = {
    "rates.py",
    "budgets.py",
    "leases.py",
    "sets.py",
    "decision.py",
    "denial.py",
    "validity.py",
    "choose.py",
    "breaker.py",
    "plan.py",
    "arithmetic.py",
    "book.py",
    "post.py",
    "sync.py",
    "addresses.py",
    "minutes.py",
    "form.py",
    "judging.py",
    "trace.py",
    "tally.py",
    "latencies.py",
    "rollup.py",
    "reader.py",
    "roller.py",
}
IMPURE = {"time", "random", "secrets", "os", "datetime.now"}

# Read when tests are collected: none of these tests starts a process.
WRITTEN = lints.written(ROOT)
PYTHON = lints.python(WRITTEN)
GATEWAY = lints.under(PYTHON, "chalicelib", "app")
ROOMS = lints.under(PYTHON, "chalicelib")
PROGRAMS = lints.under(PYTHON, "sagemaker", "enclave", "client", "sealed", "bounds", "guard", "emulators")
EMULATORS = lints.under(PYTHON, "emulators")
TESTS = lints.under(PYTHON, "tests")


def nobody(offenders: Iterable[str]) -> None:
    """Fails with every offender, each on a line of its own."""
    found = list(offenders)
    assert not found, "\n" + "\n".join(found)


def test_the_house_is_all_there() -> None:
    """A lint of nothing finds nothing."""
    assert all(len(each) > 10 for each in (WRITTEN, PYTHON, GATEWAY, ROOMS, PROGRAMS, EMULATORS, TESTS))
    assert {source.name for source in GATEWAY} >= PURE


def test_arrows_point_one_way() -> None:
    nobody(lints.arrows(ROOMS, ARROWS, LEAVES))


def test_outsiders_stay_where_they_belong() -> None:
    nobody(lints.outsiders(GATEWAY, OUTSIDERS))


def test_rules_are_pure() -> None:
    nobody(lints.impurities([source for source in GATEWAY if source.name in PURE], IMPURE))


def test_names_say_something() -> None:
    nobody(lints.names(PYTHON, BANNED))


def test_a_file_is_read_in_one_go() -> None:
    nobody(lints.sizes(PYTHON))


def test_the_doors_fit_on_a_page() -> None:
    nobody(lints.sizes(lints.under(PYTHON, "app"), most=60))


def test_the_folder_sagemaker_never_shadows_the_sdk() -> None:
    nobody(lints.shadows(PYTHON))
    assert not (ROOT / "tests" / "sagemaker").exists()


def test_programs_agree_through_wires_only() -> None:
    nobody(lints.entangled(PROGRAMS))


def test_emulators_know_nothing_of_the_gateway_or_of_who_starts_them() -> None:
    ours = {source.parts[0] for source in PYTHON} | {"cloister", "serving"}
    # The simulated security module implements a protocol of the enclave's, whose exception is part of it.
    nobody(lints.strangers(EMULATORS, ours, ("emulators", "sealed", "enclave.security_module")))


def test_the_page_of_each_room_says_what_is_in_it() -> None:
    nobody(
        lints.unmapped(lints.under(PYTHON, "chalicelib", "bounds", "emulators", "enclave", "guard", "local", "sealed"))
    )


def test_protocols_are_small() -> None:
    nobody(lints.large_protocols(GATEWAY))


def test_no_partition_is_written_down() -> None:
    nobody(lints.partitions(WRITTEN))


def test_tests_mock_nothing() -> None:
    nobody(lints.mocks(TESTS))
