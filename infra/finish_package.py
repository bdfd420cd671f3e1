"""Ready what `chalice package` made for Lambda, in place.

    python -m infra.finish_package build/package

- The modules go in compiled: Lambda's file system is read-only, so without this Python would compile every
  module again in every new sandbox, which doubles the start.
- botocore's descriptions of services that the gateway does not call go out: most of what chalice packs.
- The template becomes JSON: PyYAML writes repeated parts as aliases, which CloudFormation does not read.
"""

import importlib.util
import json
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec
from chalice.package import YAMLTemplateSerializer

SERVICES = {"bedrock", "bedrock-runtime", "dynamodb", "kms", "sagemaker-runtime", "secretsmanager", "sts"}
"""What the gateway makes botocore clients of."""

LIMIT_BYTES = 50_000_000
"""The largest package that we ship: a sandbox fetches all of it before it starts. Lambda itself takes 250 MB."""

ON_LAMBDA = "/var/task"  # what tracebacks shall say

_UNCHECKED_HASH = 0b01  # PEP 552: never compared with the source, which nobody can change there


class Size(msgspec.Struct, frozen=True):
    """Of a deployment package."""

    zipped_bytes: int
    unzipped_bytes: int

    def __str__(self) -> str:
        return f"{self.unzipped_bytes / 1e6:.1f} MB unzipped, {self.zipped_bytes / 1e6:.1f} MB zipped"


def finish(folder: Path) -> Size:
    """Finish `folder/deployment.zip` and turn `folder/sam.yaml` into `folder/template.json`."""
    package = folder / "deployment.zip"
    finished = folder / "deployment.zip.part"
    with ZipFile(package) as whole, ZipFile(finished, "w", ZIP_DEFLATED) as slim:
        for entry, data in _wanted(whole):
            slim.writestr(entry, data)
            if entry.filename.endswith(".py") and (compiled := _compiled(entry, data)) is not None:
                slim.writestr(*compiled)
    finished.replace(package)

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
            case [*_, "__pycache__", _]:
                continue
        entry.compress_type = ZIP_DEFLATED
        yield entry, package.read(entry)


def _compiled(entry: ZipInfo, source: bytes) -> tuple[ZipInfo, bytes] | None:
    try:
        code = compile(source, f"{ON_LAMBDA}/{entry.filename}", "exec", dont_inherit=True, optimize=0)
    except SyntaxError:  # a package may carry a template, or a module for another Python
        return None
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little") + importlib.util.source_hash(source)
    place = ZipInfo(importlib.util.cache_from_source(entry.filename, optimization=""), entry.date_time)
    place.external_attr = entry.external_attr
    place.compress_type = ZIP_DEFLATED
    return place, header + marshal.dumps(code)


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m infra.finish_package FOLDER\n")
        return 2
    made = finish(Path(sys.argv[1]))
    sys.stdout.write(f"Lambda package: {made}\n")
    if made.unzipped_bytes > LIMIT_BYTES:
        sys.stderr.write(f"That is more than {LIMIT_BYTES / 1e6:.0f} MB.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
