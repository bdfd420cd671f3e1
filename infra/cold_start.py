"""How long the package takes in a new sandbox, without the platform's share: from `import app` to the first answer.

    python -m infra.cold_start build/package/deployment.zip

Each round is a new process. The first event carries an API key, so that answering it takes a DynamoDB read; a stub
that knows no item answers it, over HTTP, at once. `model` is what the first call of a SageMaker pool adds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import msgspec

ROUNDS = 5

SANDBOX = """
import json, sys, time
root, key = sys.argv[1:]
sys.path.insert(0, root)
at, cpu = [time.perf_counter()], time.process_time()
def lap():
    at.append(time.perf_counter())
    return round((at[-1] - at[-2]) * 1000, 1)
import app
imported = lap()
from chalicelib import wiring
wiring.path()
built = lap()
event = {
    "resource": "/tenants/{tenant}/v1/models", "path": "/tenants/acme/v1/models", "httpMethod": "GET",
    "headers": {"authorization": "Bearer " + key}, "multiValueHeaders": {"authorization": ["Bearer " + key]},
    "queryStringParameters": None, "multiValueQueryStringParameters": None, "pathParameters": {"tenant": "acme"},
    "stageVariables": None, "body": None, "isBase64Encoded": False,
    "requestContext": {"resourcePath": "/tenants/{tenant}/v1/models", "httpMethod": "GET", "identity": {}},
}
status = app.app(event, None)["statusCode"]
answered = lap()
cpu = round((time.process_time() - cpu) * 1000, 1)
wiring.Engines()["sagemaker"]
model = lap()
assert status == 401, status
print(json.dumps({
    "import_ms": imported, "wiring_ms": built, "first_event_ms": answered, "cpu_ms": cpu, "model_ms": model,
}))
"""
KEY = "ck_acme.aaaaaaaa_" + "A" * 43  # has the form of one; nobody has issued it


class ColdStart(msgspec.Struct, frozen=True):
    """The median over the rounds, in milliseconds, of wall time where nothing else is said."""

    import_ms: float
    wiring_ms: float
    first_event_ms: float
    cpu_ms: float  # CPU time of these three: what counts where others keep the machine busy
    model_ms: float

    @property
    def total_ms(self) -> float:
        """Until the first answer; the first call of a model comes on top."""
        return self.import_ms + self.wiring_ms + self.first_event_ms

    def __str__(self) -> str:
        return (
            f"{self.total_ms:.0f} ms (import {self.import_ms:.0f}, wiring {self.wiring_ms:.0f}, "
            f"first event {self.first_event_ms:.0f}; CPU {self.cpu_ms:.0f}); "
            f"first SageMaker call + {self.model_ms:.0f} ms"
        )


def measure(package: Path, rounds: int = ROUNDS) -> ColdStart:
    with _empty_store() as store, tempfile.TemporaryDirectory() as unpacked:
        with ZipFile(package) as opened:
            opened.extractall(unpacked)
        # Without site-packages: what is not in the package is missing here as it would be there.
        command = [sys.executable, "-S", "-c", SANDBOX, unpacked, KEY]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_ENDPOINT_URL_DYNAMODB": store,
            "PYTHONPATH": "",
        }
        measured = [_round(command, unpacked, environment) for _ in range(rounds)]
    return ColdStart(
        *(statistics.median(getattr(one, name) for one in measured) for name in ColdStart.__struct_fields__)
    )


def _round(command: list[str], folder: str, environment: dict[str, str]) -> ColdStart:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the sandbox did not start:\n{done.stderr}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=ColdStart)


@contextmanager
def _empty_store() -> Iterator[str]:
    class Store(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"{}"
            self.send_response_only(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m infra.cold_start PACKAGE.zip\n")
        return 2
    sys.stdout.write(f"cold start: {measure(Path(sys.argv[1]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
