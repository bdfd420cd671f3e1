"""What runs on one machine, as data: which containers, behind which SageMaker endpoints, as which pools."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from emulators.sagemaker_runtime.endpoints import Components, Endpoints, MultiModel

ROOT = Path(__file__).resolve().parent.parent
DEMO_MODEL = ROOT / "sagemaker" / "models" / "demo"
DEMO_CONTEXT = 2_048  # tokens
EMBEDDING_MODEL = ROOT / ".local" / "models" / "minilm"
"""Derived once from an installed package, so all state directories share it."""

REGION = "us-east-1"
GOVCLOUD_REGION = "us-gov-west-1"
"""Of the principals of the other partition, who sign for the same gateway."""

USER_AGENT = "cloister-local"
"""Of the system's own questions to its gateway, which nobody at the terminal asked."""

GUARDRAILS = ROOT / "local" / "bedrock-guardrails.json"
"""Those of the local Bedrock. The demo tenant may use the one that is called so:"""
GUARDRAIL = "demo"
BEDROCK_ACCOUNT = "123456789012"

COMPONENTS = "cloister-components"
MULTI_MODEL = "cloister-multi-model"
TARGET_MODELS = ("demo-a.tar.gz", "demo-b.tar.gz")


class Container(msgspec.Struct, frozen=True):
    """One inference container: `python -m serving` with these arguments, as the images start it."""

    name: str
    arguments: tuple[str, ...]
    sealed: bool = False  # has an enclave behind it


CONTAINERS = (
    Container("demo", ("--model", f"demo={DEMO_MODEL}"), sealed=True),
    Container("embed", ("--embedding", f"embed={EMBEDDING_MODEL}"), sealed=True),
    Container("multi", ("--multi-model",)),
)


def embedding_model_exists() -> bool:
    return (EMBEDDING_MODEL / "minilm.gguf").exists()


def endpoints(urls: Mapping[str, str]) -> Endpoints:
    """What the local cloud's SageMaker knows; `urls` are the containers', by name."""
    return {
        COMPONENTS: Components({"demo": urls["demo"], "embed": urls["embed"]}),
        MULTI_MODEL: MultiModel(urls["multi"], dict.fromkeys(TARGET_MODELS, str(DEMO_MODEL))),
    }
