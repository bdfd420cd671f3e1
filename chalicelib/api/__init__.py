"""Surfaces, one file each: what callers send and get, and nothing of how it comes and goes (that is `http`).

    openai       /tenants/{tenant}/v1                   anthropic    /tenants/{tenant}/v1/messages
    responses    /tenants/{tenant}/v1/responses         the same package's other wire
    kept_responses   the same, of those that were kept
    native       /inference, /live, /ready, /health, and what describes the service to programs
    pages        /, /docs and /problems: the service as a browser shows it
    bedrock      /v1/bedrock, for signed callers        dashboard    /v1/dashboard: the audit log
    bedrock_runtime   /v1/bedrock/model, and the same below a tenant: Bedrock's own API, for AWS's SDKs
    management   /tenants/{tenant}: the tenant and its keys
    usage        /tenants/{tenant}/v1/usage and limits: what was used, and what is left
    requests     /tenants/{tenant}/v1/requests: the ledger
    people       who belongs to a tenant, and what its own roles may
    issuers      /tenants/{tenant}/issuers: whose tokens its members come in with
    guardrails   /tenants/{tenant}/guardrails: what may be said to models, and by them
    offered_guardrails   /admin/tenants/{tenant}/bedrock-guardrails: those of Bedrock's that it may use
    sources      /tenants/{tenant}/sources, and the operator's: from where its callers come in
    reviews      /admin/reviews, and a tenant's rules of velocity: fair use
    velocity     /tenants/{tenant}/velocity: the same, as its owners watch over it
    reputation   /admin/reputation and /admin/velocity: what operators say of addresses, for all tenants
    status       /status: how the service stands and stood, for everybody
    status_mails /status/subscriptions: hearing of incidents by mail
    status_admin /admin/status: what is watched, incidents, maintenance
    signup       /signup: whether anybody may become a tenant
    events       /tenants/{tenant}/events, and the operator's: what was changed, and by whom
    break_glass  /admin, for an operator in an emergency
    signin       /signin: how people come by a token
    sessions     /signin and /tenants/{tenant}/sessions: members who come by a browser
    privacy      /tenants/{tenant}/data, and the operator's: everything of a tenant, erased
    kms_keys     a tenant's KMS keys, and an enclave that shows itself
    audit        the ledger as an auditor verifies it   admin        /admin, the operator's

`surfaces` lists them and their paths, for the app. How to add a route stands in CONTRIBUTING.
"""
