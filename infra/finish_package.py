"""Ready what Chalice packaged for Lambda, in place.

- The modules go in compiled (`compile_package`), where there is a Python of the runtime to compile them.
- botocore's descriptions of services that the gateway does not call go out: most of what chalice packs.
- So do parts of Powertools and of X-Ray's SDK that nothing here imports: as large as the rest of them.
- The template becomes JSON: PyYAML writes repeated parts as aliases, which CloudFormation does not read.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from chalice.package import YAMLTemplateSerializer

SERVICES = {"bedrock", "kms", "secretsmanager", "sts"}
"""What the gateway makes botocore clients of."""

UNUSED = {"aws_lambda_powertools/event_handler", "aws_xray_sdk/ext"}
"""Routers and patches: we route by ourselves, and patch nothing."""

LIMIT_BYTES = 50_000_000
"""The largest package that we ship: a sandbox fetches all of it before it starts. Lambda itself takes 250 MB."""

COMPILER = Path(__file__).with_name("compile_package.py")


class Size(msgspec.Struct, frozen=True):
    """Of a deployment package."""

    zipped_bytes: int
    unzipped_bytes: int

    def __str__(self) -> str:
        return f"{self.unzipped_bytes / 1e6:.1f} MB unzipped, {self.zipped_bytes / 1e6:.1f} MB zipped"


def finish(folder: Path, interpreter: str | None) -> Size:
    """Finish `folder/deployment.zip` and turn `folder/sam.yaml` into `folder/template.json`."""
    package = folder / "deployment.zip"
    finished = folder / "deployment.zip.part"
    with ZipFile(package) as whole, ZipFile(finished, "w", ZIP_DEFLATED) as slim:
        for entry, data in _wanted(whole):
            slim.writestr(entry, data)
    finished.replace(package)
    if interpreter is not None:
        subprocess.run([interpreter, "-I", COMPILER, package], check=True)

    written = folder / "sam.yaml"
    template = YAMLTemplateSerializer().load_template(written.read_text())
    (folder / "template.json").write_text(json.dumps(template, indent=1))
    written.unlink()
    return size(package)


def size(package: Path) -> Size:
    with ZipFile(package) as opened:
        return Size(package.stat().st_size, sum(entry.file_size for entry in opened.infolist()))


def _wanted(package: ZipFile) -> Iterator[tuple[ZipInfo, bytes]]:
    for entry in package.infolist():
        match entry.filename.split("/"):
            case ["botocore", "data", service, _, *_] if service not in SERVICES:
                continue
            case [package_name, room, *_] if f"{package_name}/{room}" in UNUSED:
                continue
            case ["aws_lambda_powertools", "utilities", name, _, *_] if name != "jmespath_utils":
                continue
            case [*_, "__pycache__", _]:
                continue
        entry.compress_type = ZIP_DEFLATED
        yield entry, package.read(entry)
