"""Sessions of AWS's SDK that read its descriptions of services, megabytes of JSON, once in a process."""

from functools import cache

from botocore.loaders import Loader, create_loader
from botocore.session import Session


def session() -> Session:
    """A session of its own in everything else."""
    session = Session()
    session.register_component("data_loader", _descriptions())
    return session


@cache
def _descriptions() -> Loader:
    return create_loader()
