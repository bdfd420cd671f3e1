"""Put every module of a package in compiled, in place. Run by the Python of the runtime, which needs nothing installed.

    python3.13 infra/compile_package.py build/package/deployment.zip

Lambda's file system is read-only: without this Python would compile every module again in every new sandbox, which
doubles the start.
"""

import importlib.util
import marshal
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ON_LAMBDA = "/var/task"  # what tracebacks shall say

_UNCHECKED_HASH = 0b01  # PEP 552: never compared with the source, which nobody can change there


def compile_package(package: Path) -> None:
    finished = package.with_name(f"{package.name}.part")
    with ZipFile(package) as plain, ZipFile(finished, "w", ZIP_DEFLATED) as whole:
        for entry in plain.infolist():
            data = plain.read(entry)
            whole.writestr(entry, data)
            if entry.filename.endswith(".py") and (compiled := _compiled(entry, data)) is not None:
                whole.writestr(*compiled)
    finished.replace(package)


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


if __name__ == "__main__":
    compile_package(Path(sys.argv[1]))
