"""The gateway: what Lambda runs.

    api/         HTTP in, HTTP out                 one blueprint for each surface
    inference/   the path of a request             run() is the product on one screen
    identity/    who is calling, and may they
    tenancy/     tenants, keys, members; snapshots with their epoch
    sealing/     tickets: what an enclave is permitted to open
    admission/   may this run now: one conditional write
    placement/   which target runs it: choice, breakers, fall-over
    engines/     how to talk to each kind of target
    ledger/      what happened: one entry for each request

Leaves that every room may import: call, refusal, clock, settings, telemetry, tables (stores only).
Only `api` and `app.py` import `wiring`; nothing imports `api`. docs/architecture.md tells why.
"""
