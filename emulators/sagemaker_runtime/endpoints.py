"""Which SageMaker endpoint stands for which container, as the supervisor writes it and the local cloud reads it.

SageMaker knows three kinds of real-time endpoint, and an invocation must suit the kind.
"""

from pathlib import Path

import msgspec


class SingleModel(msgspec.Struct, frozen=True, tag="single_model"):
    """One container with one model."""

    url: str  # http://host:port of the container


class Components(msgspec.Struct, frozen=True, tag="components"):
    """Inference components: each invocation names one."""

    urls: dict[str, str | None]  # component's name -> http://host:port of its container; None while it has no copy


class MultiModel(msgspec.Struct, frozen=True, tag="multi_model"):
    """One container that loads models on demand: each invocation names one."""

    url: str
    models: dict[str, str]  # target model -> the directory that holds it


Endpoint = SingleModel | Components | MultiModel

Endpoints = dict[str, Endpoint]
"""By endpoint name."""


def read(path: Path) -> Endpoints:
    """Raises OSError, msgspec.DecodeError, msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Endpoints)


def write(endpoints: Endpoints, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(endpoints))
