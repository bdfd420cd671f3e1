"""Every surface: what the app serves, by whichever transport."""

from chalicelib.api import (
    admin,
    anthropic,
    audit,
    bedrock,
    bedrock_runtime,
    break_glass,
    dashboard,
    events,
    guardrails,
    issuers,
    kept_responses,
    kms_keys,
    management,
    native,
    openai,
    pages,
    people,
    responses,
    reviews,
    sessions,
    signin,
    signup,
    sources,
    velocity,
)

SURFACES = (
    openai.surface, responses.surface, kept_responses.surface, anthropic.surface, native.surface, native.public,
    pages.surface, bedrock.surface, bedrock_runtime.signed, bedrock_runtime.keyed, management.surface, people.surface,
    issuers.surface, sessions.surface, sessions.public, sources.surface, guardrails.surface, audit.surface,
    dashboard.surface, kms_keys.surface, admin.surface, events.surface, events.operators, sources.operators,
    break_glass.surface, signup.surface, signin.surface, reviews.surface,
    velocity.surface,
)  # fmt: skip
