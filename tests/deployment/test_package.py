"""The zip that Lambda gets: small, compiled, and complete without anything that is installed here."""

import http.client
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from emulators.sockets import reserve, url
from infra import cold_start
from infra.finish_package import LIMIT_BYTES, SERVICES, size
from infra.package import RUNTIME, interpreter
from tests.deployment.packages import FUNCTIONS, ROOT, Package
from tests.patience import PATIENCE_S


def test_the_package_stays_small(dev: Package, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nLambda package: {dev.size}")

    assert dev.size == size(dev.zip)
    assert dev.size.unzipped_bytes < LIMIT_BYTES <= 50_000_000


def test_every_module_is_there_compiled_for_this_python_and_is_never_compared(dev_here: Package) -> None:
    with ZipFile(dev_here.zip) as opened:
        names = set(opened.namelist())
        for name in names:
            if name.startswith(("chalicelib/", "bounds/", "guard/")) and name.endswith(".py"):
                compiled = opened.read(importlib.util.cache_from_source(name, optimization=""))
                assert compiled[:4] == importlib.util.MAGIC_NUMBER
                assert compiled[4:8] == b"\x01\x00\x00\x00"  # PEP 552: by hash, unchecked
    assert {
        "app.py",
        "chalice/app.py",
        "chalicelib/http/bridge.py",
        "chalicelib/http/stream.sh",
        "bounds/__init__.py",
        "guard/__init__.py",
    } <= names
    assert len(names) == len(opened.namelist())


def test_whoever_packages_it_is_for_one_runtime_and_one_processor(packaged: Package) -> None:
    """Chalice alone would take both the runtime and the wheels from the Python that runs it."""
    for function in FUNCTIONS:
        assert packaged.function(function)["Runtime"] == RUNTIME == "python3.13"
        assert packaged.function(function)["Architectures"] == ["arm64"]
    binaries: dict[str, bytes] = {}
    with ZipFile(packaged.zip) as opened:
        for name in opened.namelist():
            if name.endswith(".so"):
                binaries[name] = opened.read(name)[:20]
        for name in opened.namelist():
            if name.endswith(".dist-info/WHEEL"):
                tags = re.findall(r"^Tag: (.+)$", opened.read(name).decode(), re.MULTILINE)
                assert any(
                    re.fullmatch(r"(py2\.)?py[23]-none-any|cp313-cp313-.*aarch64|cp311-abi3-.*aarch64", tag)
                    for tag in tags
                ), name
    assert len(binaries) >= 4
    for name, header in binaries.items():
        # ELF of 64 bits, little endian, whose machine is EM_AARCH64.
        assert header[:6] == b"\x7fELF\x02\x01" and int.from_bytes(header[18:20], "little") == 183, name
        assert re.search(r"\.cpython-313-|\.abi3\.so$", name), name


def test_nothing_is_missing_that_a_package_needs_on_the_runtime(dev: Package) -> None:
    """pip looks at conditions (`python_version < "3.13"`) with the eyes of the Python that runs it."""
    there = {"python_version": "3.13", "python_full_version": "3.13.0", "sys_platform": "linux"} | {
        "platform_machine": "aarch64", "implementation_name": "cpython", "platform_python_implementation": "CPython",
        "os_name": "posix", "platform_system": "Linux", "extra": "",
    }  # fmt: skip
    with ZipFile(dev.zip) as opened:
        told = [opened.read(name).decode() for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
    shipped = {canonicalize_name(re.findall(r"^Name: (.+)$", each, re.MULTILINE)[0]) for each in told}
    needed = [Requirement(line) for each in told for line in re.findall(r"^Requires-Dist: (.+)$", each, re.MULTILINE)]
    wanted = {canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate(there)}
    assert wanted and wanted <= shipped


def test_without_a_python_of_the_runtime_the_modules_go_in_as_source(dev: Package) -> None:
    with ZipFile(dev.zip) as opened:
        compiled = {name for name in opened.namelist() if name.endswith(".pyc")}
    assert bool(compiled) == (interpreter(RUNTIME) is not None)
    assert all(name.endswith(".cpython-313.pyc") for name in compiled)


def test_nothing_is_shipped_that_is_not_the_gateway(dev: Package) -> None:
    with ZipFile(dev.zip) as opened:
        roots = {name.split("/")[0] for name in opened.namelist()}

    assert not roots & {"tests", "local", "sagemaker", "bench", "infra", "docs", "chalice.egg-info", "boto3", "moto"}


def test_botocore_describes_every_service_that_the_gateway_makes_a_client_of(dev: Package) -> None:
    made = set()
    for path in (ROOT / "chalicelib").rglob("*.py"):
        made |= set(re.findall(r"""create_client\(\s*["']([a-z0-9-]+)["']""", path.read_text()))
    with ZipFile(dev.zip) as opened:
        described = {name.split("/")[2] for name in opened.namelist() if re.match(r"botocore/data/[^/]+/.", name)}

    assert made and made <= SERVICES
    assert described == SERVICES


def test_the_package_answers_with_nothing_else_installed(dev_here: Package) -> None:
    """The measure itself is printed, and compared with its goal by `make bench`; a busy machine proves nothing."""
    assert cold_start.measure(dev_here.zip, rounds=1).total_ms > 0


def test_the_streaming_functions_handler_is_a_script_that_lambda_can_start(dev: Package, unpacked: Path) -> None:
    handler = unpacked / dev.function("Streaming")["Handler"]

    assert os.access(handler, os.X_OK)
    assert handler.read_text().startswith("#!/bin/bash\n")


def test_the_script_serves_what_the_adapter_asks_for(dev: Package, unpacked: Path) -> None:
    with _sandbox(dev, unpacked) as port:
        # Without a credential, and without a store: there is none here.
        assert _get(port, _readiness_path(dev))[0] == 200
        status, body = _get(port, "/no/such/route")
        assert (status, body["type"]) == (404, "/problems/not-found")
        # A real route of the function, up to the store, which does not answer.
        status, body = _get(port, "/tenants/acme/v1/models", {"Authorization": f"Bearer {cold_start.KEY}"})
        assert (status, body["error"]["code"]) == (503, "no_capacity")


def test_in_the_function_only_the_adapter_says_who_signed(dev: Package, unpacked: Path) -> None:
    """The adapter overwrites this header with API Gateway's own context; the bridge reads it there."""
    context = json.dumps({"identity": {"userArn": "arn:p:iam::123456789012:role/operator"}})
    with _sandbox(dev, unpacked) as port:
        unsigned, _ = _get(port, "/admin/tenants")
        signed, body = _get(port, "/admin/tenants", {"x-amzn-request-context": context})

    assert unsigned == 401
    assert (signed, body["type"]) == (503, "/problems/no-capacity")  # let in, and then the store does not answer


def _readiness_path(package: Package) -> str:
    path: str = package.function("Streaming")["Environment"]["Variables"]["AWS_LWA_READINESS_CHECK_PATH"]
    return path


@contextmanager
def _sandbox(package: Package, root: Path) -> Iterator[int]:
    """The streaming function, started as the adapter's exec wrapper does it; its port."""
    function = package.function("Streaming")
    with reserve() as held, reserve() as nobody:  # which does not listen: a store that refuses
        port = held.getsockname()[1]
        environment = {
            **{name: str(value) for name, value in function["Environment"]["Variables"].items()},
            # The interpreter itself, without this virtual environment's packages.
            "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin",
            "PYTHONNOUSERSITE": "1",
            "LAMBDA_TASK_ROOT": str(root),
            "AWS_LAMBDA_FUNCTION_NAME": "cloister-dev-Streaming",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_LWA_PORT": str(port),
            "AWS_ENDPOINT_URL_DYNAMODB": url(nobody),
        }
        process = subprocess.Popen(
            [root / function["Handler"]], cwd="/", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            _await_readiness(port, _readiness_path(package), process)
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
            assert process.stdout is not None
            process.stdout.close()


def _await_readiness(port: int, path: str, process: "subprocess.Popen[bytes]") -> None:
    """As the adapter does: ask every 10 ms, until there is an answer below 500."""
    given_up = threading.Event()
    timer = threading.Timer(PATIENCE_S, given_up.set)
    timer.start()
    try:
        while not given_up.wait(0.01):
            if process.poll() is not None:
                assert process.stdout is not None
                raise AssertionError(process.stdout.read().decode())
            try:
                if _get(port, path)[0] < 500:
                    return
            except ConnectionRefusedError:
                continue
    finally:
        timer.cancel()
    raise AssertionError("the streaming function was not ready in time")


def _get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
