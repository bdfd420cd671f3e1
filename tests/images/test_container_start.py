"""How the container starts and ends, run as SageMaker, Docker and developers do."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.sockets import reserve
from serving import settings
from serving.refusal import Refusal
from serving.sealing.peer import peer_of
from serving.settings import BadSettings
from tests.images.houses import DEMO, ROOT, Client, Process, alive, events
from tests.patience import PATIENCE_S, until

IMAGES = ("cpu", "gpu")


def one_sentence(each: Process) -> str:
    code, journal, complaint = each.ended()
    assert code == 2
    assert complaint.startswith("cannot start: ")
    assert complaint.count("\n") == 1, complaint
    assert not [line for line in journal if line["event"] == "ready"]
    return complaint


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        complaint = one_sentence(Process("--model", f"demo={DEMO}", "--port", str(port)))
    assert str(port) in complaint
    assert "in use" in complaint


def test_a_missing_model_is_one_sentence() -> None:
    assert "/no/such/model" in one_sentence(Process("--model", "demo=/no/such/model"))


@pytest.mark.parametrize("keep", [0, 3, 200, 100_000, 4_000_000])
def test_a_damaged_model_is_one_sentence(tmp_path: Path, keep: int) -> None:
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes((DEMO / "cloister-demo.gguf").read_bytes()[:keep])
    one_sentence(Process("--model", f"demo={damaged}"))


def test_a_model_of_the_wrong_kind_is_one_sentence(tmp_path: Path) -> None:
    one_sentence(Process("--model", f"demo={tmp_path}"))
    one_sentence(Process("--engine", "vllm", "--model", f"demo={tmp_path}"))


@pytest.mark.parametrize(
    "flags", [["--model", "nonsense"], ["--capacity", "0"], ["--model", "a=x", "--embedding", "a=y"]], ids=str
)
def test_settings_that_make_no_sense_are_one_sentence(flags: list[str]) -> None:
    one_sentence(Process(*flags))


PCR = f"0={'ab' * 48}"
HERE = ["--enclave", "unix:/e"]
WHO = ["--enclave-identity", "{identity}"]
WHICH = ["--enclave-pcr", PCR]


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        (HERE, "--enclave-identity"),
        ([*HERE, *WHO], "--enclave-pcr"),
        (WHICH, "--enclave "),
        (["--enclave-root", "{identity}"], "--enclave "),
        (["--enclave", "tcp:here", *WHO, *WHICH], "tcp:HOST:PORT"),
        (["--enclave", "vsock:me:1", *WHO, *WHICH], "vsock:CID:PORT"),
        ([*HERE, "--enclave-identity", "/no/file", *WHICH], "/no/file"),
        ([*HERE, *WHO, *WHICH, "--enclave-root", "/no/root"], "/no/root"),
        ([*HERE, *WHO, "--enclave-pcr", "0=ab"], "96"),
        ([*HERE, *WHO, "--enclave-pcr", "ab"], "0=HEX"),
        ([*HERE, *WHO, "--enclave-pcr", f"{PCR},{PCR}"], "once"),
        ([*HERE, *WHO, "--enclave-pcr", PCR.replace("0", "1")], "PCR0"),
    ],
    ids=str,
)
def test_half_an_enclave_is_one_sentence_that_names_the_other_half(
    flags: list[str], missing: str, certificate: Path
) -> None:
    with pytest.raises(BadSettings, match=re.escape(missing)) as refused:
        read = settings.read([str(certificate) if flag == "{identity}" else flag for flag in flags], {}).enclave
        assert read is not None
        peer_of(read)
    assert "\n" not in str(refused.value)


def test_an_enclave_that_makes_no_sense_is_known_before_a_model_is_loaded() -> None:
    assert "/no/file" in one_sentence(Process("--multi-model", *HERE, "--enclave-identity", "/no/file", *WHICH))


def test_several_enclaves_may_be_allowed_so_that_measurements_can_be_rotated() -> None:
    whole = {"CLOISTER_ENCLAVE": "vsock:16:7443", "CLOISTER_ENCLAVE_IDENTITY": "/identity"}
    old, new = f"{PCR},1={'cd' * 48}", f"0={'ef' * 48}"
    by_variable = settings.read([], whole | {"CLOISTER_ENCLAVE_PCRS": f"{old};{new}"}).enclave
    by_flag = settings.read(["--enclave-pcr", old, "--enclave-pcr", new], whole | {"CLOISTER_ENCLAVE_PCRS": PCR})
    assert by_variable is not None
    assert by_variable.measurements == (old, new)
    assert by_variable == by_flag.enclave


def test_a_variable_that_makes_no_sense_is_one_sentence() -> None:
    assert "CLOISTER_CAPACITY" in one_sentence(Process(environ={"CLOISTER_CAPACITY": "many"}))


def test_the_environment_of_sagemaker_is_understood() -> None:
    one = settings.read(["serve"], {"SAGEMAKER_BIND_TO_PORT": "9090"})
    assert (one.host, one.port, one.models, one.multi_model) == (
        "0.0.0.0",
        9090,
        (("default", Path("/opt/ml/model")),),
        False,
    )
    many = settings.read(["serve"], {"SAGEMAKER_BIND_TO_PORT": "9090", "SAGEMAKER_MULTI_MODEL": "true"})
    assert (many.models, many.multi_model) == ((), True)


def test_an_empty_environment_is_open_to_whoever_runs_the_image_and_loopback_is_asked_for() -> None:
    nothing = settings.read(["serve"], {})
    assert (nothing.host, nothing.port, nothing.models) == ("0.0.0.0", 8080, (("default", Path("/opt/ml/model")),))
    assert settings.read([], {"CLOISTER_HOST": ""}).host == "0.0.0.0"
    assert settings.read([], {"CLOISTER_HOST": "127.0.0.1"}).host == "127.0.0.1"
    assert settings.read(["--host", "127.0.0.1"], {}).host == "127.0.0.1"


def test_a_flag_wins_over_the_environment() -> None:
    chosen = settings.read(
        ["--port", "1", "--capacity", "7"], {"SAGEMAKER_BIND_TO_PORT": "2", "CLOISTER_CAPACITY": "3"}
    )
    assert (chosen.port, chosen.limits.capacity) == (1, 7)
    with pytest.raises(BadSettings):
        settings.read([], {"CLOISTER_AGING_MS": "0"})


def test_sigterm_lets_a_stream_end_and_exits_with_0(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.touch()
    each = Process("--engine", "scripted", "--model", f"one={model}").ready()
    stream = events(each.open("POST", "/invocations", {"stream": True, "script": {"tokens": 20, "delay_ms": 20}}))
    assert next(stream) == ": started queue_ms=0"
    each.process.send_signal(signal.SIGTERM)
    assert list(stream)[-1] == "data: [DONE]"
    code, journal, complaint = each.finish()
    assert (code, complaint) == (0, "")
    assert journal[-1]["event"] == "stopped"


def test_sigterm_cuts_a_stream_that_does_not_end(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.touch()
    each = Process("--engine", "scripted", "--model", f"one={model}", "--grace-s", "1").ready()
    stream = events(each.open("POST", "/invocations", {"stream": True, "script": {"tokens": 10_000, "delay_ms": 20}}))
    assert next(stream) == ": started queue_ms=0"
    each.process.send_signal(signal.SIGTERM)
    assert json.loads(list(stream)[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert each.finish()[0] == 0


def test_sigterm_while_a_model_loads_ends_both(tmp_path: Path) -> None:
    """The engine is a stand-in for one that takes minutes: it never gets ready, and says its process id on its way."""
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\necho loading as $$\nexec sleep 600\n")
    program.chmod(0o755)
    (tmp_path / "config.json").touch()
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with reserve() as held:
        port = held.getsockname()[1]
        flags = ["--engine", "vllm", "--model", f"slow={tmp_path}", "--port", str(port)]
        each = Process(*flags, environ={"PATH": path})
        assert each.process.stderr
        engine = int(each.process.stderr.readline().removeprefix("loading as "))
        each.port = port
        answer = each.call("GET", "/ping")
        assert (answer.status, answer.json["status"]) == (503, "loading")
        assert each.call("POST", "/invocations", {"prompt": "x"}).status == 404
        assert each.finish()[0] == 0
    until(lambda: not alive(engine))


def test_every_flag_variable_refusal_and_route_is_documented() -> None:
    page = (ROOT / "docs" / "container.md").read_text()
    help_ = " ".join(settings.parser({}).format_help().split())
    variables = set(
        re.findall(r"\b(?:CLOISTER|SAGEMAKER)_[A-Z_]+", (ROOT / "sagemaker/serving/settings.py").read_text())
    )
    flags = set(re.findall(r"--[a-z][a-z-]+", help_)) - {"--help"}
    codes = {kind.code for kind in Refusal.__subclasses__() if kind.code != Refusal.code} | {Refusal.code}
    routes = set(re.findall(r'\bRoute\("([^"]+)"', (ROOT / "sagemaker/serving/routes.py").read_text()))
    assert len(flags) > 15
    assert len(codes) > 10
    assert [word for word in sorted(flags | variables | codes | routes) if word not in page] == []


# The images: nothing but an install step and an entry, both of which run here too.


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_an_install_step_and_an_entry(image: str) -> None:
    lines = (ROOT / "sagemaker" / image / "Dockerfile").read_text().splitlines()
    steps = [line for line in lines if line and not line.startswith("#")]
    assert {step.split()[0] for step in steps} <= {"FROM", "LABEL", "COPY", "RUN", "ENV", "EXPOSE", "ENTRYPOINT"}
    assert [step for step in steps if step.startswith("RUN ")] == [f"RUN /opt/cloister/{image}/install.sh"]
    assert steps[-1] == 'ENTRYPOINT ["/opt/cloister/serving/entry.sh"]'
    for label in ("multi-models", "accept-bind-to-port"):
        assert f"LABEL com.amazonaws.sagemaker.capabilities.{label}=true" in steps
    for step in steps:
        if step.startswith("COPY "):
            source, target = step.split()[1:]
            assert target == "/opt/cloister/" + source.removeprefix("sagemaker/"), "the image mirrors the repository"
            assert (ROOT / source).is_dir()


@pytest.mark.parametrize("image", IMAGES)
def test_the_install_step_finds_everything_installed_that_it_pins(image: str, tmp_path: Path) -> None:
    """The very script of the image, against this interpreter: it must have nothing to do, so the pins are tested."""
    requirements = (ROOT / "sagemaker" / image / "requirements.txt").read_text()
    pins = [line for line in requirements.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9]+==[\d.]+", pin) for pin in pins), pins
    report = install(image, tmp_path, PIP_DRY_RUN="1", PIP_NO_INDEX="1", PIP_NO_DEPS="1")
    assert report.returncode == 0, report.stderr
    assert "Would install" not in report.stdout


def install(image: str, tmp_path: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / "sagemaker" / image / "install.sh")],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_entry_with_nothing_set_is_reached_from_outside(tmp_path: Path) -> None:
    """Neither SageMaker, where one container stands alone, nor `docker run` sets a variable. Only the port is ours."""
    model = tmp_path / "model"
    model.touch()
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = f'PATH="{tmp_path}:$PATH" exec "{ROOT}/sagemaker/serving/entry.sh" "$@"'
    flags = ["serve", "--engine", "scripted", "--model", f"one={model}", "--port", "0"]
    entry = subprocess.Popen(["/bin/sh", "-c", script, "sh", *flags], env={}, stdout=subprocess.PIPE, text=True)
    try:
        assert entry.stdout
        said = (json.loads(line) for line in entry.stdout)
        port = next(each["port"] for each in said if each["event"] == "ready")
        # Another one of the machine's addresses, as SageMaker calls: who listens on 127.0.0.1 is not here.
        with socket.create_connection(("127.0.0.2", port), PATIENCE_S) as caller:
            caller.sendall(b"GET /ping HTTP/1.1\r\nHost: container\r\nConnection: close\r\n\r\n")
            assert caller.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    finally:
        entry.send_signal(signal.SIGTERM)
        entry.communicate(timeout=PATIENCE_S)
    assert entry.returncode == 0


def test_the_entry_serves_the_demo_model_as_sagemaker_runs_it(tmp_path: Path) -> None:
    entry = subprocess.Popen(
        [str(ROOT / "sagemaker" / "serving" / "entry.sh"), "serve"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, "SAGEMAKER_BIND_TO_PORT": "0"}
        | {"CLOISTER_MODEL_DIR": str(DEMO), "CLOISTER_HOST": "127.0.0.1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert entry.stdout
        said = (json.loads(line) for line in entry.stdout)
        port = next(each["port"] for each in said if each["event"] == "ready")
        question = {"messages": [{"role": "user", "content": "What is Cloister?"}], "max_tokens": 4}
        assert Client(port).call("POST", "/invocations", question).status == 200
    finally:
        entry.send_signal(signal.SIGTERM)
        entry.communicate(timeout=PATIENCE_S)
    assert entry.returncode == 0
