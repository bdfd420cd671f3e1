"""The gateway: what Lambda runs.

    api/         surfaces, one file each           http/        everything between HTTP and a surface
    inference/   THE PATH: run() is the product on one screen
    identity/    from a credential to a principal, and what it may do
    tenancy/     tenants, keys, members            documents/   the versioned store under it
    admission/   may this run now: one conditional write
    placement/   which target runs it              engines/     how to talk to each kind of target
    dialects/    how wires are read and written    tickets/     what an enclave is permitted to open
    ledger/      what happened: one entry for each request
    usage/       how much was used, by hour and day
    journal/     what people changed: an event for each change
    guardrails/  what a tenant's rules do to its calls; the rules are the program part `guard`
    passwords/   signing in with a mail address and a password
    contents/    what tenants asked to be kept, encrypted
    velocity/    how many different prompts, keys and addresses a tenant calls with
    privacy/     a tenant's data as a whole: erased
    status/      how the service stands and stood, for everybody
    egress/      who may be called at an address that a tenant names

    wiring       which implementation stands behind which protocol; only `api`, `http`, `schedules` import it
    schedules    what runs each minute or hour; `app.py` says how often
    dynamodb     DynamoDB's wire and its tables    tables       their models, for what is managed
    http1/       HTTP/1.1, as we ask others

Leaves that every room may import:

    call, pool   what is asked of an engine; what can run it
    refusal      every way we say no               settings     what a deployment may set
    clock, randomness, partition                   time, chance, AWS's partitions
    sight/       what everybody may see of a request, and never what was said
    aws_client   an AWS service, with the gateway's own role, by botocore
    store_window how many calls a store is asked at once
    aws_credentials, signature, aws_address        how that role is proved to AWS, and where AWS is

Arrows point one way: api, http -> inference -> {identity, admission, placement -> engines -> dialects, ledger} ->
tables, leaves. tests/architecture/ holds them; docs/architecture.md tells why.
"""
