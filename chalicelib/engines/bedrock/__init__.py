"""Amazon Bedrock.

    engine        the calls                          frames       the event stream around a streamed answer
    access        the way there, and calls repeated  credentials  out of Secrets Manager
    profiles      inference profiles, and residency  failures     what went wrong, and for whom
    catalogue     which models there are             model        what callers are told of one
    control       Bedrock's control plane, by botocore
    guardrails    what its guardrails say of texts

Imports nothing here: a door describes a model (`model`) without the rest.
"""
