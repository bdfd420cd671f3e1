"""Environment -> one frozen value, read once; everything that is wrong is reported together."""

import re
from collections.abc import Mapping

import msgspec

_ORIGIN = r"https?://[A-Za-z0-9.:\[\]-]+"
_OURS = r"(?P<origin>https://[a-z0-9.-]+(:[0-9]+)?|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)(/[A-Za-z0-9._~-]+)*"

_USER_POOL = r".+/[a-z]{2}(-[a-z]+)+-[0-9]_[A-Za-z0-9]+"
_MAIL = r"[^\s@<>,;]+@[^\s@<>,;]+"
_PRINCIPAL = r"arn:aws[a-z-]*:iam::[0-9]{12}:(user|role)/.+"

RENEWAL_MS = 2_000
"""What a lease outlasts the longest silence by, at least: it is renewed then, if need be at a second try."""


class BadSettings(Exception):
    """The environment does not make sense; the text names every variable that is wrong."""


class Settings(msgspec.Struct, frozen=True):
    """What a deployment may set. The variable is `CLOISTER_` and the field's name in capitals.

    Every field has a safe default, so that new code starts under yesterday's stack.
    """

    region: str = "us-east-1"  # where AWS_REGION is set, that
    regions: str = ""  # all that serve the same tenants, with commas between; empty: only `region`
    table_prefix: str = "cloister"
    store_deadline_ms: int = 1_000  # one DynamoDB call; a store slower than this is refused with 503
    lease_ms: int = 90_000  # a lease that nobody renews for so long is abandoned
    renew_ms: int = 20_000  # how often a running request renews its lease
    connect_deadline_ms: int = 2_000  # to reach a target
    idle_deadline_ms: int = 60_000  # the longest silence of a target within an answer
    answer_deadline_ms: int = 900_000  # a whole answer; API Gateway streams for 15 minutes at most
    breaker_failures: int = 3  # consecutive failures that open a target's breaker
    breaker_pause_ms: int = 10_000  # until one request may try such a target again
    health_max_age_ms: int = 2_000  # how long /health and /ready answer with what they read
    body_limit_bytes: int = 6_000_000  # Lambda's payload limit is 6 MB
    connections: int = 4_096  # of clients, open at once; fewer where the process may not have as many files
    requests: int = 1_500  # taken in at once by one process, that do not stream yet; more are refused with 503
    request_threads: int = 128  # for those
    streams: int = 2_000  # open at once in one process
    body_bytes: int = 64_000_000  # of requests, in the memory of one process
    tenant_share_percent: int = 75  # of each of these, for one tenant while it is alone
    trusted_hops: int = 0  # proxies before us that append to X-Forwarded-For; 0: who connects is the client
    ticket_secret: str = ""  # the secret with the key that signs tickets for the enclave; empty: nothing is sealed here
    audit_key: str = ""  # the KMS key, ARN or alias, that signs the ledger's days; empty: none is signed
    content_key: str = ""  # the KMS key, ARN or alias, that wraps tenants' data keys; empty: nothing is kept here
    issuer: str = ""  # the OpenID Connect issuer whose tokens members of all tenants come in with; empty: none
    issuer_client_ids: str = ""  # of it, with commas between: the programs whose tokens are for us
    issuer_scopes: str = ""  # with commas between: of its resource server for us; a token with one is for us
    issuer_audiences: str = ""  # with commas between: what its tokens call us, where they say for whom they are
    issuer_subject_claim: str = "sub"  # the claim of its tokens that names the member
    signin_client_id: str = ""  # of the issuer, a user pool: by which people sign in with a password; empty: none
    terminal_client_id: str = ""  # the issuer's client for `cloister login`: a code, PKCE, no secret; empty: none
    break_glass_principals: str = ""  # the IAM users and roles that may, with commas between; empty: none
    public_url: str = ""  # where browsers find us, with the stage, if there is one; empty: nobody signs in here
    browser_client_id: str = ""  # the issuer's client for browsers: a code, PKCE, no secret; empty: none signs in
    session_idle_ms: int = 1_800_000  # a browser's session that nobody renews for so long is over
    session_longest_ms: int = 43_200_000  # however often it is renewed
    egress_origins: str = ""  # called wherever they are, with commas between; else only what is public, over TLS
    sign_up: str = "invited"  # who may become a tenant: whom the operator makes one; or `open`, anybody who pays
    telemetry: str = "lines"  # how it is told what became of requests: `lines`, `powertools`, or `otlp` beside lines
    otlp_endpoint: str = ""  # the collector of `otlp`: an origin, and maybe a path
    trace_percent: int = 0  # of requests that are traced, where nobody before us has decided; 0: no spans are kept
    mail_sender: str = (
        ""  # a mail address that SES has verified, by which the status page mails; empty: nobody is mailed
    )
    status_bucket: str = ""  # of S3, where the status page is published as files; empty: nowhere
    sealing_regions: str = ""  # where tenants' KMS keys may be, with commas between; empty: in `region`

    @property
    def other_regions(self) -> tuple[str, ...]:
        """Those besides this one where a change of a tenant must be true, too."""
        return tuple(region for region in _listed(self.regions) if region != self.region)

    @property
    def callable_origins(self) -> tuple[str, ...]:
        """Those that the operator has named, the issuer's among them."""
        issuers = re.match(_ORIGIN, self.issuer)
        return (*_listed(self.egress_origins), *([issuers[0]] if issuers else []))

    @property
    def glass_breakers(self) -> tuple[str, ...]:
        """The ARNs of those operators who may come to tenants' things in an emergency."""
        return _listed(self.break_glass_principals)

    @property
    def public_origin(self) -> str:
        """As browsers say it, but for a default port, which they leave out."""
        found = re.match(_OURS, self.public_url)
        return found["origin"] if found else ""

    @property
    def client_ids(self) -> tuple[str, ...]:
        return _listed(self.issuer_client_ids)

    @property
    def scopes(self) -> tuple[str, ...]:
        return _listed(self.issuer_scopes)

    @property
    def audiences(self) -> tuple[str, ...]:
        return _listed(self.issuer_audiences)

    @property
    def key_regions(self) -> tuple[str, ...]:
        """Where tenants' KMS keys may be."""
        return _listed(self.sealing_regions) or (self.region,)


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def read(environment: Mapping[str, str]) -> Settings:
    """Read all settings. Raises BadSettings with one line for each variable that is wrong."""
    found: dict[str, object] = {}
    if "AWS_REGION" in environment:
        found["region"] = environment["AWS_REGION"]
    wrong = []
    for field in msgspec.structs.fields(Settings):
        variable = f"CLOISTER_{field.name.upper()}"
        if variable not in environment:
            continue
        try:
            found[field.name] = msgspec.convert(environment[variable], field.type, strict=False)
        except msgspec.ValidationError:
            wrong.append(f"{variable} must be a whole number, not {environment[variable]!r}")
    settings = Settings(**found)  # type: ignore[arg-type]
    for name in msgspec.structs.fields(Settings):
        value = getattr(settings, name.name)
        least = min(1, name.default) if isinstance(value, int) else 0
        if isinstance(value, int) and value < least:
            wrong.append(f"CLOISTER_{name.name.upper()} must be at least {least}, not {value}")
    # A running request renews at an event; the last one may have come just before it was time to.
    if settings.renew_ms + settings.idle_deadline_ms + RENEWAL_MS > settings.lease_ms:
        wrong.append(
            "CLOISTER_RENEW_MS and CLOISTER_IDLE_DEADLINE_MS together must be less than CLOISTER_LEASE_MS "
            f"by at least {RENEWAL_MS}, or an answer that pauses loses its lease"
        )
    if settings.issuer and not re.match(_ORIGIN, settings.issuer):
        wrong.append("CLOISTER_ISSUER must be a URL, as its tokens name it in `iss`")
    if settings.issuer and not (settings.client_ids or settings.scopes or settings.audiences):
        wrong.append(
            "CLOISTER_ISSUER needs CLOISTER_ISSUER_CLIENT_IDS, CLOISTER_ISSUER_SCOPES or CLOISTER_ISSUER_AUDIENCES: "
            "which of its tokens are for us"
        )
    if settings.public_url and not re.fullmatch(_OURS, settings.public_url):
        wrong.append(
            "CLOISTER_PUBLIC_URL must be as https://api.example.com or https://api.example.com/stage, with the host in "
            "lower case and no last slash; http:// is for 127.0.0.1 and localhost: elsewhere browsers keep no session"
        )
    if settings.browser_client_id and not (settings.issuer and settings.public_url):
        wrong.append("CLOISTER_BROWSER_CLIENT_ID needs CLOISTER_ISSUER and CLOISTER_PUBLIC_URL: by whom, and where")
    if settings.session_idle_ms > settings.session_longest_ms:
        wrong.append("CLOISTER_SESSION_IDLE_MS must not be more than CLOISTER_SESSION_LONGEST_MS")
    if not all(re.fullmatch(_ORIGIN, origin) for origin in _listed(settings.egress_origins)):
        wrong.append("CLOISTER_EGRESS_ORIGINS must be origins, as http://127.0.0.1:5000, with commas between")
    if settings.signin_client_id and not re.fullmatch(_USER_POOL, settings.issuer):
        wrong.append("CLOISTER_SIGNIN_CLIENT_ID needs a CLOISTER_ISSUER that is a user pool of Cognito")
    if settings.signin_client_id and settings.signin_client_id not in settings.client_ids:
        wrong.append("CLOISTER_SIGNIN_CLIENT_ID must be one of CLOISTER_ISSUER_CLIENT_IDS, or nobody takes its tokens")
    if settings.terminal_client_id and settings.terminal_client_id not in settings.client_ids:
        wrong.append(
            "CLOISTER_TERMINAL_CLIENT_ID must be one of CLOISTER_ISSUER_CLIENT_IDS, or nobody takes its tokens"
        )
    if not all(re.fullmatch(_PRINCIPAL, arn) for arn in settings.glass_breakers):
        wrong.append("CLOISTER_BREAK_GLASS_PRINCIPALS must be ARNs of IAM users and roles, with commas between")
    if not re.fullmatch(r"([a-z0-9][a-z0-9-]{1,61}[a-z0-9])?", settings.status_bucket):
        wrong.append("CLOISTER_STATUS_BUCKET must be a bucket's name: 3 to 63 small letters, digits or `-`")
    if settings.mail_sender and not (
        settings.public_url and re.fullmatch(r"[^\s@<>,;]+@[^\s@<>,;]+", settings.mail_sender)
    ):
        wrong.append("CLOISTER_MAIL_SENDER must be a mail address, and needs CLOISTER_PUBLIC_URL: where links lead")
    if settings.sign_up not in ("invited", "open"):
        wrong.append(f"CLOISTER_SIGN_UP must be `invited` or `open`, not {settings.sign_up!r}")
    if settings.telemetry not in ("lines", "powertools", "otlp"):
        wrong.append(f"CLOISTER_TELEMETRY must be `lines`, `powertools` or `otlp`, not {settings.telemetry!r}")
    if (settings.telemetry == "otlp") != bool(settings.otlp_endpoint):
        wrong.append(
            "CLOISTER_TELEMETRY `otlp` and CLOISTER_OTLP_ENDPOINT, where it sends to, are nothing without each other"
        )
    if settings.otlp_endpoint and not re.match(_ORIGIN, settings.otlp_endpoint):
        wrong.append("CLOISTER_OTLP_ENDPOINT must be a URL, as http://127.0.0.1:4318")
    if settings.trace_percent > 100:
        wrong.append(f"CLOISTER_TRACE_PERCENT must be at most 100, not {settings.trace_percent}")
    if settings.tenant_share_percent > 100:
        wrong.append(f"CLOISTER_TENANT_SHARE_PERCENT must be at most 100, not {settings.tenant_share_percent}")
    if settings.body_limit_bytes > settings.body_bytes:
        wrong.append("CLOISTER_BODY_LIMIT_BYTES must not be more than CLOISTER_BODY_BYTES, which is for all bodies")
    if wrong:
        raise BadSettings("\n".join(wrong))
    return settings
