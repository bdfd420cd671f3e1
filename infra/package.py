"""Package a stage for Lambda: `build/package/deployment.zip` and the template beside it, without credentials.

    python -m infra.package prod build/package          for Lambda, whoever packages
    python -m infra.package prod /tmp/here --here       for the Python and processor that package: to measure, to try

Chalice would take the runtime, and the wheels for it, from the Python that happens to run it. Here both are pinned: the
same package comes from any laptop. pip fetches what runs there, and nothing is built.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
from chalice.cli.factory import CLIFactory
from chalice.config import Config

from infra import finish_package, stages

RUNTIME = "python3.13"
ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}
GLIBC = range(17, 35)  # Amazon Linux 2023, on which Lambda's Python runs since 3.12, has 2.34
OVERLAY = Path(".chalice/overlay.yaml")


class Place(msgspec.Struct, frozen=True):
    """Where a package runs."""

    runtime: str = RUNTIME  # as Lambda names it
    architecture: str = ""  # as Lambda names it; empty: what .chalice/config.json says


def here() -> Place:
    """This Python, on this machine."""
    lambdas_name = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    return Place(f"python{sys.version_info.major}.{sys.version_info.minor}", lambdas_name)


def package(stage: str, folder: Path, place: Place, project: Path) -> finish_package.Size:
    config = _config(stage, place, project)
    for name, value in _for_pip(place.runtime, ARCHITECTURES[config.lambda_architecture]).items():
        os.environ[name] = value  # which Chalice hands on to pip
    factory = CLIFactory(str(project))
    packager = factory.create_app_packager(
        config, factory.create_package_options(), "cloudformation", "yaml", str(project / OVERLAY)
    )
    packager.package_app(config, str(folder), stage)
    return finish_package.finish(folder, interpreter(place.runtime))


def interpreter(runtime: str) -> str | None:
    """A Python of this version on this machine, whose bytecode the runtime reads; None where there is none."""
    if here().runtime == runtime:
        return sys.executable
    found = shutil.which(runtime)
    # A launcher of that name may lead nowhere, so it is asked.
    if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return found
    return None


def _config(stage: str, place: Place, project: Path) -> Config:
    class Pinned(Config):
        @property
        def lambda_python_version(self) -> str:
            return place.runtime

    factory = CLIFactory(str(project))
    given = {"lambda_architecture": place.architecture} if place.architecture else {}
    return Pinned(
        chalice_stage=stage,
        user_provided_params={"chalice_app": factory.load_chalice_app, **given},
        config_from_disk=factory.load_project_config(),
        default_params={"project_dir": str(project)},
    )


def _for_pip(runtime: str, machine: str) -> dict[str, str]:
    version = runtime.removeprefix("python")
    platforms = [*(f"manylinux_2_{minor}_{machine}" for minor in GLIBC), f"manylinux2014_{machine}"]
    return {
        "PIP_PYTHON_VERSION": version,
        "PIP_IMPLEMENTATION": "cp",
        "PIP_ABI": "cp" + version.replace(".", ""),
        "PIP_PLATFORM": " ".join(platforms),
        "PIP_ONLY_BINARY": ":all:",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.package")
    parser.add_argument("stage")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--here", action="store_true", help="for the Python and processor that package")
    options = parser.parse_args()
    project = Path.cwd()
    if said := stages.complaint(options.stage, project / ".chalice" / "config.json"):
        sys.stderr.write(f"{said}\n")
        return 2
    place = here() if options.here else Place()
    made = package(options.stage, options.folder.absolute(), place, project)
    sys.stdout.write(f"Lambda package: {made}, for {place.runtime}\n")
    if interpreter(place.runtime) is None:
        sys.stderr.write(
            f"There is no {place.runtime} here, so the modules go in as source: they run, but a new sandbox takes "
            f"twice as long to start. Put {place.runtime} on the PATH and package again.\n"
        )
    if made.unzipped_bytes > finish_package.LIMIT_BYTES:
        sys.stderr.write(f"That is more than {finish_package.LIMIT_BYTES / 1e6:.0f} MB.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
