"""Speed and memory, each beside something else in the same run.

`python -m bench.gateway` and `python -m bench.admission` compare with peers, `python -m bench.commits` with another
commit of Cloister, `python -m bench.streams` a thousand streams with both, `python -m bench.sealed` with requests in
the clear, `python -m bench.guarded` a tenant that has rules with one that has none, and `python -m bench.local_cloud`
the local system with that of another commit.

    wire.py           a HTTP/1.1 server in one asyncio protocol, cheap enough to be no part of what is measured
    upstream.py       an instant OpenAI-compatible engine
    dynamodb.py       an instant DynamoDB: canned, valid replies
    load.py           the client: the same requests to whoever is measured
    processes.py      programs started and stopped; their CPU, memory and start time
    environments.py   a virtual environment for each contestant, and Redis
    tenant.py         the tenant, key and pool that Cloister is measured with
    contestants.py    how each contestant is set up: LiteLLM bare and governed, smg, Cloister
    rounds.py         what one round measures, of one or of two in turn, and the medians over rounds
    table.py          figures as one table, with ratios
    gateway.py        the comparison of gateways, printed as one table
    streams.py        many streams at once: Cloister, smg and another commit
    streams_*.py      an engine of such streams, their client, and who asks meanwhile whether the gateway lives
    goals.py          what is wanted of the figures, and whether it is so
    cold_start.py     import and client creation of the Lambda handler
    commits.py        this tree beside another commit, printed with quartiles and verdicts
    worktree.py       that commit's files, and where the gateway is in them
    pairs.py          ratios by round, their quartiles, and what they say
    guarded.py        a tenant with rules and a token beside one with neither
    tokens.py         that token, and the key that verifies it
    admission.py      admit + settle beside zae-limiter
    limiter*.py       one limiter put to work, in its own interpreter
    local_cloud.py    the local system of this tree beside another commit's: speed, and how its cloud grows
    sealed.py         each sealed mode beside requests in the clear
    sealed_*.py       its processes, modes, rounds and report, and the load on the enclave alone

Standard library only, and a contestant's packages live in its own environment under `.bench/`; but `tokens` signs, and
`sealed` seals as clients do, and runs what it measures from the environment that it runs in.
"""
