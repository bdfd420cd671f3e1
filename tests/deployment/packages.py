"""What is deployed, made as `make package` makes it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from infra.finish_package import Size, size

ROOT = Path(__file__).parents[2]
FUNCTIONS = {"APIHandler", "Streaming", "Reaper", "Prober", "Publisher", "Notary", "Usage", "Eraser"}


class Package(msgspec.Struct, frozen=True):
    """One stage, packaged."""

    stage: str
    folder: Path
    size: Size
    template: dict[str, Any]

    @property
    def zip(self) -> Path:
        return self.folder / "deployment.zip"

    @property
    def resources(self) -> dict[str, Any]:
        found: dict[str, Any] = self.template["Resources"]
        return found

    @property
    def definition(self) -> dict[str, Any]:
        """The API, as API Gateway imports it."""
        found: dict[str, Any] = self.resources["RestAPI"]["Properties"]["DefinitionBody"]
        return found

    def function(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.resources[name]["Properties"]
        return found


def copied(folder: Path) -> Path:
    """What `chalice package` reads, on its own: chalice leaves a zip beside it for every change of the code."""
    folder.mkdir()
    for name in ("app.py", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("chalicelib", "vendor"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".chalice", folder / ".chalice", ignore=shutil.ignore_patterns("deployments", "deployed"))
    return folder


def package(project: Path, stage: str, region: str, folder: Path, *options: str) -> Package:
    """Without credentials, and without any place to find some."""
    nowhere = str(folder.parent / "nowhere")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "infra.package", stage, folder, *options],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Package(
        stage, folder, size(folder / "deployment.zip"), msgspec.json.decode((folder / "template.json").read_bytes())
    )


def uploaded(template: dict[str, Any]) -> dict[str, Any]:
    """The template as `aws cloudformation package` leaves it: the code is in a bucket."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(template))
    for resource in copy["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/deployment.zip"
    return copy
