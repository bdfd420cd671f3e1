"""The wires that callers and targets speak: how each is read and written. No I/O, no tenants, no engines.

    openai       chats, completions, embeddings          sse          server-sent events under it
    anthropic/   Messages as chats, and chats as Messages
    responses/   Responses as chats, and chats as Responses
    converse/    chats as Bedrock's Converse, and back   invoke       a Bedrock model's own body
    completions  prompts as chats, and back
    sealed       frames around ciphertext                container    what our inference container says besides
    families     what only some of Bedrock's models have     names   what is called otherwise there
    ceilings     where a request says how much may be answered
    media        what of a request is no text            eventstream  frames around what AWS's SDKs read
    failures     what a target's error means for the caller
    reader       what reads an answer in events          tool_calls   put together from what servers send of them
    model_name   as the caller asked for it              member       one of a request, checked
    buckets      places in S3 that a request names           apply_guardrail  texts, judged by Bedrock
    same_again   a chunk that says what the one before said

A dialect more: a file (or a folder of `requests` and `answers`) here, its operations in `call.py`, and golden wires in
`vectors/` or `tests/dialects/`. Which engine speaks it as it is, each engine says.
"""
