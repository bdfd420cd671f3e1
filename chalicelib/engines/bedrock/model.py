"""What callers are told of a Bedrock model. Apart from the catalogue: a door describes it without botocore."""

import msgspec


class FoundationModel(msgspec.Struct, frozen=True, rename="camel"):
    """A model as Bedrock lists it, and the inference profile through which it is reached, if it needs one."""

    model_id: str
    name: str
    provider: str
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    streams: bool
    needs_profile: bool
    inference_profile: str | None  # of a geography that residency allows; None: made at the first call
