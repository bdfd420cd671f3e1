"""`python -m bench.cold_start`: what the Lambda handler adds to the platform's own cold start.

Import of `app`, then the first request (which builds the clients and reads the tenant) over a warm one; each
in a fresh interpreter, its bytecode compiled already, as in a deployed package.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path

from bench import contestants, environments, tenant
from bench.processes import as_deployed, stop_when_told
from bench.table import Row, print_table

RUNS = 9
FIRST_REQUEST = Path(__file__).with_name("first_request.py")
ROWS = (
    Row("import", "import of the handler", "ms", compared=False),
    Row("first", "first request (clients, tenant and pools read)", "ms", compared=False),
    Row("warm", "warm request", "ms", compared=False),
    Row("cold", "cold start: import + first request - warm request", "ms", compared=False),
    Row("cpu", "CPU of import and first request", "ms", compared=False),
)


def event(key: str) -> dict[str, object]:
    """A chat completion as API Gateway hands it to the function."""
    resource = "/tenants/{tenant}/v1/chat/completions"
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return {
        "resource": resource,
        "path": f"/tenants/{tenant.NAME}/v1/chat/completions",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"tenant": tenant.NAME},
        "stageVariables": None,
        "requestContext": {"resourcePath": resource, "httpMethod": "POST", "identity": {"sourceIp": "127.0.0.1"}},
        "body": '{"model":"bench","messages":[{"role":"user","content":"hello"}],"max_tokens":64}',
        "isBase64Encoded": False,
    }


def once(dynamodb_port: int, key: str, *, at: Path = environments.ROOT) -> dict[str, float]:
    """One start of the handler of the tree `at`, in milliseconds. Raises: NotInstallable, RuntimeError (it failed)."""
    environment = as_deployed({**contestants.cloister_environment(dynamodb_port), "PYTHONPATH": str(at)})
    done = subprocess.run(
        # -P: the handler is found in its tree, and nothing beside the script is.
        [environments.gateway(at), "-P", FIRST_REQUEST],
        input=json.dumps(event(key)),
        cwd=at,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


def measure(runs: int) -> dict[str, float]:
    """Medians over fresh interpreters, in milliseconds."""
    key = tenant.new_key()
    with contestants.upstream() as upstream, contestants.dynamodb(upstream, key) as dynamodb:
        reports = [once(dynamodb, key) for _ in range(runs + 1)]
    # The first one compiles what was never imported before; a deployed package is compiled already.
    return {row.key: statistics.median(report[row.key] for report in reports[1:]) for row in ROWS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    stop_when_told()
    print_table(ROWS, {"Cloister": measure(options.runs)}, ours="Cloister")


if __name__ == "__main__":
    main()
