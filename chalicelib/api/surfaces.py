"""Every surface: what the app serves, by whichever transport, and in which module that stands.

A path more stands here, too: by it the first request finds the module, which is not imported before. A module that
serves another path than those, or not all of them, does not open.
"""

from collections.abc import Mapping

_PATHS: Mapping[str, tuple[str, ...]] = {
    "openai": (
        "/tenants/{tenant}/v1/chat/completions",
        "/tenants/{tenant}/v1/chat",
        "/tenants/{tenant}/v1/completions",
        "/tenants/{tenant}/v1/embeddings",
        "/tenants/{tenant}/v1/models",
        "/tenants/{tenant}/v1/models/{model+}",
    ),
    "responses": ("/tenants/{tenant}/v1/responses",),
    "kept_responses": (
        "/tenants/{tenant}/v1/responses/{response}",
        "/tenants/{tenant}/v1/responses/{response}/input_items",
    ),
    "anthropic": (
        "/tenants/{tenant}/v1/messages",
        "/tenants/{tenant}/v1/messages/count_tokens",
    ),
    "native": (
        "/inference",
        "/live",
        "/ready",
        "/health",
        "/openapi.json",
    ),
    "pages": (
        "/",
        "/docs",
        "/docs/redoc.js",
        "/problems",
        "/problems/{name}",
    ),
    "status": (
        "/status",
        "/status.json",
    ),
    "status_mails": (
        "/status/subscriptions",
        "/status/subscriptions/{link}",
    ),
    "bedrock": (
        "/v1/bedrock/invoke-model",
        "/v1/bedrock/models",
    ),
    "bedrock_runtime": (
        "/tenants/{tenant}/v1/bedrock/model/{model}/invoke",
        "/v1/bedrock/model/{model}/invoke",
        "/tenants/{tenant}/v1/bedrock/model/{model}/invoke-with-response-stream",
        "/v1/bedrock/model/{model}/invoke-with-response-stream",
        "/tenants/{tenant}/v1/bedrock/model/{model}/converse",
        "/v1/bedrock/model/{model}/converse",
        "/tenants/{tenant}/v1/bedrock/model/{model}/converse-stream",
        "/v1/bedrock/model/{model}/converse-stream",
    ),
    "management": (
        "/tenants/{tenant}",
        "/tenants/{tenant}/keys",
        "/tenants/{tenant}/keys/{key}",
        "/tenants/{tenant}/keys/{key}/rotate",
    ),
    "usage": (
        "/tenants/{tenant}/v1/usage",
        "/tenants/{tenant}/v1/limits",
        "/tenants/{tenant}/usage",
    ),
    "requests": (
        "/tenants/{tenant}/v1/requests",
        "/tenants/{tenant}/requests",
    ),
    "people": (
        "/tenants/{tenant}/members",
        "/tenants/{tenant}/members/{subject}",
        "/tenants/{tenant}/membership",
        "/tenants/{tenant}/roles",
    ),
    "issuers": ("/tenants/{tenant}/issuers",),
    "sessions": (
        "/signin/{tenant}",
        "/signin/callback",
        "/signin/{tenant}/out",
        "/tenants/{tenant}/session/renew",
        "/tenants/{tenant}/sessions",
        "/tenants/{tenant}/sessions/{session}",
    ),
    "sources": (
        "/tenants/{tenant}/sources",
        "/admin/tenants/{tenant}/sources",
    ),
    "guardrails": ("/tenants/{tenant}/guardrails",),
    "velocity": ("/tenants/{tenant}/velocity",),
    "audit": (
        "/tenants/{tenant}/audit/entries",
        "/tenants/{tenant}/audit/heads",
    ),
    "privacy": (
        "/tenants/{tenant}/data",
        "/tenants/{tenant}/data/{job}",
        "/admin/tenants/{tenant}/data",
        "/admin/erasures",
    ),
    "dashboard": ("/v1/dashboard/requests",),
    "kms_keys": (
        "/tenants/{tenant}/kms-keys",
        "/tenants/{tenant}/kms-keys/{key}",
        "/tenants/{tenant}/kms-keys/{key}/probe",
        "/tenants/{tenant}/attestation",
        "/tenants/{tenant}/sealing",
    ),
    "admin": (
        "/admin/tenants",
        "/admin/tenants/{tenant}",
        "/admin/tenants/{tenant}/usage",
        "/admin/tenants/{tenant}/requests",
        "/admin/tenants/{tenant}/keys",
        "/admin/tenants/{tenant}/keys/{key}",
        "/admin/tenants/{tenant}/principals",
        "/admin/pools",
        "/admin/pools/{pool+}",
        "/admin/key-epochs",
    ),
    "events": (
        "/tenants/{tenant}/events",
        "/admin/tenants/{tenant}/events",
    ),
    "break_glass": ("/admin/tenants/{tenant}/break-glass",),
    "signup": ("/signup",),
    "signin": (
        "/signin/token",
        "/signin/terminal",
        "/signin/{tenant}/join",
    ),
    "reviews": (
        "/admin/tenants/{tenant}/velocity",
        "/admin/reviews",
        "/admin/tenants/{tenant}/reviews/{review}/{step}",
    ),
    "reputation": (
        "/admin/velocity",
        "/admin/reputation",
    ),
    "status_admin": (
        "/admin/status/components",
        "/admin/status/incidents",
        "/admin/status/incidents/{incident}/updates",
        "/admin/status/maintenance",
        "/admin/status/maintenance/{window}",
    ),
    "offered_guardrails": ("/admin/tenants/{tenant}/bedrock-guardrails",),
}

MODULES: Mapping[str, tuple[str, ...]] = {f"{__package__}.{name}": paths for name, paths in _PATHS.items()}
"""In the order in which the service describes them."""
