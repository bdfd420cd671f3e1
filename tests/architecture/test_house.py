"""The house keeps its shape: arrows, outsiders, names and sizes (docs/architecture.md)."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
]
GATEWAY = [path for path in FILES if path.relative_to(ROOT).parts[0] in ("chalicelib", "app.py")]

LEAVES = {"call", "pool", "refusal", "clock", "randomness", "partition", "settings", "telemetry"}
ARROWS = {
    "api": {
        *("http", "inference", "identity", "tenancy", "admission", "engines", "dialects", "ledger", "tickets"),
        "wiring",
    },
    "http": {"inference", "identity", "tenancy", "admission", "ledger", "wiring"},
    "wiring": {
        *("inference", "identity", "tenancy", "documents", "admission", "placement", "engines", "ledger", "tickets"),
        "tables",
    },
    "inference": {"identity", "tenancy", "admission", "placement", "dialects", "ledger", "tickets"},
    "identity": {"tenancy"},
    "tenancy": {"admission", "documents"},
    "documents": {"tables"},
    "tickets": set(),
    "admission": {"ledger", "tables"},
    "ledger": {"tables"},
    "placement": {"engines"},
    "engines": {"dialects"},
    "dialects": set(),
    "tables": {"dynamodb"},
    "dynamodb": set(),
} | {leaf: set() for leaf in LEAVES}
OUTSIDERS = {
    "pynamodb": {"tables.py", "dynamodb.py", "documents/store.py", "admission/store.py", "ledger/store.py"},
    "botocore": {
        *("tables.py", "dynamodb.py", "wiring.py", "tickets/secret.py", "ledger/signature.py", "engines/sagemaker.py"),
        *(f"engines/bedrock/{name}.py" for name in ("access", "credentials", "failures", "frames")),
    },
    "chalice": {"http/doors.py", "http/surface.py"},
}
BANNED = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "managers"}
PURE = {"rates.py", "budgets.py", "decision.py", "denial.py", "validity.py", "choose.py", "breaker.py", "plan.py"}
IMPURE = {"time", "random", "secrets", "os", "datetime.now"}


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (
                [node.module] if node.module != "chalicelib" else [f"chalicelib.{alias.name}" for alias in node.names]
            )
    return found


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if len(parts) > 1 else parts[0]


@pytest.mark.parametrize("path", [path for path in GATEWAY if room(path) != "app"], ids=str)
def test_arrows_point_one_way(path: Path) -> None:
    ours = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "chalicelib" or len(parts) < 2 or parts[1] in {ours, *LEAVES} or ours == "__init__":
            continue
        assert parts[1] in ARROWS[ours], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", GATEWAY, ids=str)
def test_outsiders_stay_where_they_belong(path: Path) -> None:
    for name in imports(path):
        allowed = OUTSIDERS.get(name.split(".")[0])
        where = path.relative_to(ROOT / "chalicelib").as_posix() if path.name != "app.py" else path.name
        assert allowed is None or where in allowed or where == "app.py", f"{path} imports {name}"


@pytest.mark.parametrize("path", [path for path in GATEWAY if path.name in PURE], ids=str)
def test_rules_are_pure(path: Path) -> None:
    assert not IMPURE & set(imports(path))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_names_and_sizes(path: Path) -> None:
    assert not BANNED & set(path.relative_to(ROOT).with_suffix("").parts)
    assert len(path.read_text().splitlines()) <= 400


def test_the_doors_fit_on_a_page() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) <= 60


def test_the_folder_sagemaker_never_shadows_the_sdk() -> None:
    assert not [path for path in FILES if path.parent == ROOT / "sagemaker"]
    assert not (ROOT / "tests" / "sagemaker").exists()


def test_programs_agree_through_wires_only() -> None:
    for path in FILES:
        if path.relative_to(ROOT).parts[0] in ("sagemaker", "enclave", "client", "sealed"):
            assert not [name for name in imports(path) if name.startswith("chalicelib")], path


def test_protocols_are_small() -> None:
    for path in GATEWAY:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases
            ):
                assert len([part for part in node.body if isinstance(part, ast.FunctionDef)]) <= 5, node.name


def test_no_partition_is_written_down() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    literal = "arn:" + "aws:"
    for name in tracked:
        path = ROOT / name
        if name.startswith("tests/") or path.suffix not in (".py", ".json", ".yaml", ".yml", ".sh", ".md"):
            continue
        assert literal not in path.read_text(), name


def test_tests_mock_nothing() -> None:
    for path in FILES:
        if path.relative_to(ROOT).parts[0] == "tests":
            assert not [name for name in imports(path) if name.startswith(("unittest.mock", "mock", "pytest_mock"))], (
                path
            )


def test_emulators_know_nothing_of_the_gateway_or_of_who_starts_them() -> None:
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"app", "cloister", "serving"}
    files = [*(ROOT / "emulators").rglob("*.py")]
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports {node.module} relatively"
                names = [str(node.module)]
            for name in names:
                # The simulated security module implements a protocol of the enclave's, whose exception is part of it.
                known = name.split(".")[0] in ("emulators", "sealed") or name == "enclave.security_module"
                assert known or name.split(".")[0] not in ours, f"{path} imports {name}"
