from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.deployment.packages import Package, copied, package


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("deployment") / "project")


@pytest.fixture(scope="session")
def dev(project: Path) -> Package:
    return package(project, "dev", "us-east-1", project.parent / "dev")


@pytest.fixture(scope="session")
def dev_here(project: Path, dev: Package) -> Package:
    """The same for this Python and this processor, so that it can be run."""
    return package(project, "dev", "us-east-1", project.parent / "dev-here", "--here")


@pytest.fixture(scope="session")
def gov_prod(project: Path, dev: Package) -> Package:
    """After `dev`, whose zip it takes: what differs is the template."""
    return package(project, "gov-prod", "us-gov-west-1", project.parent / "gov-prod")


@pytest.fixture(params=["dev", "gov_prod"])
def packaged(request: pytest.FixtureRequest, dev: Package, gov_prod: Package) -> Package:
    return dev if request.param == "dev" else gov_prod


@pytest.fixture(scope="session")
def unpacked(dev_here: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/var/task, with the permissions that Lambda gives the files."""
    root = tmp_path_factory.mktemp("task")
    with ZipFile(dev_here.zip) as opened:
        for entry in opened.infolist():
            place = Path(opened.extract(entry, root))
            place.chmod(entry.external_attr >> 16 & 0o777)
    return root
