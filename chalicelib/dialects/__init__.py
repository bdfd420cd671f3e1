"""The wires that callers and targets speak: how each is read and written. No I/O, no tenants, no engines.

    openai       chats, completions, embeddings          sse          server-sent events under it
    anthropic/   Messages as chats, and chats as Messages
    converse/    chats as Bedrock's Converse, and back   invoke       a Bedrock model's own body
    sealed       frames around ciphertext                container    what our inference container says besides
    ceilings     where a request says how much may be answered
    eventstream  frames around what AWS's SDKs read
    media        what of a request is no text
    failures     what a target's error means for the caller
    reader       what reads an answer in events          tool_calls   put together from what servers send of them

A dialect more: a file (or a folder of `requests` and `answers`) here, its operations in `call.py`, and golden wires in
`vectors/` or `tests/dialects/`. Which engine speaks it as it is, each engine says.
"""
