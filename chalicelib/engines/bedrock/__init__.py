"""Amazon Bedrock.

    engine        the calls                          frames       the event stream around a streamed answer
    access        clients, and calls repeated        credentials  out of Secrets Manager
    profiles      inference profiles, and residency  failures     what went wrong, and for whom
    catalogue     which models there are             model        what callers are told of one
    passage       a caller's own Converse, past botocore's types

Imports nothing here: a door describes a model (`model`) without botocore.
"""
