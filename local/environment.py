"""What each process finds in its environment: what it needs to do its work, and nothing else of whoever started us.

A container runs models, which may be anybody's; it finds no key of the account, no name of a secret, and nothing of the
person's own that was never meant for it. What is added here is added for one of them.
"""

import os
from collections.abc import Iterable, Mapping

import msgspec

from chalicelib.settings import Settings
from emulators.sockets import LOOPBACK
from local import layout
from local.account import TICKET_SECRET

Environment = Mapping[str, str]

MACHINE = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE"),
    *("LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
)
"""What programs run by, of whoever started us."""

TUNING = tuple(
    f"CLOISTER_{name}"
    for name in (
        *("ENGINE", "CAPACITY", "QUEUE_BOUND", "TENANT_BOUND", "AGING_MS", "MEMORY_LIMIT_MB", "CONTEXT", "THREADS"),
        *(
            "PROMPT_CACHE",
            "LOAD_TIMEOUT_S",
            "QUEUE_TIMEOUT_S",
            "IDLE_TIMEOUT_S",
            "REQUEST_TIMEOUT_S",
            "STALL_TIMEOUT_S",
        ),
    )
)
"""Settings of the containers that may be tried out here; the others are ours to give, as flags."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""On the way to targets that the operator has put elsewhere. They may hold a password."""


AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""Whom to trust there: of a company's proxies and servers nobody else knows (`chalicelib.http1.trust`)."""


def machine(ours: Environment) -> dict[str, str]:
    """For a process that knows nothing of AWS."""
    return _of(ours, MACHINE) | {"PYTHONUNBUFFERED": "1"}


def container(ours: Environment) -> dict[str, str]:
    return machine(ours) | _of(ours, TUNING) | {"PYTHONPATH": str(layout.ROOT / "sagemaker")}


def aws(ours: Environment) -> dict[str, str]:
    """For a process that uses AWS's libraries, which must find nothing of AWS but what is here."""
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    # The region twice: boto3 reads only the second, other SDKs the first.
    here = {"AWS_REGION": layout.REGION, "AWS_DEFAULT_REGION": layout.REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    return machine(ours) | nowhere | here


def enclave(ours: Environment, account: Environment) -> dict[str, str]:
    """`account`: what the cloud says of its account (see `local.account`)."""
    return aws(ours) | {
        "AWS_ACCESS_KEY_ID": account["enclave_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": account["enclave_secret_access_key"],
    }


def gateway(ours: Environment, account: Environment, bedrock_url: str, base_url: str) -> dict[str, str]:
    """For the gateway and the schedules of its app: its settings too, as whoever started us has set them.

    `base_url`: the gateway's own.
    """
    away = {name: ",".join(filter(None, (ours.get(name), LOOPBACK))) for name in ("no_proxy", "NO_PROXY")}
    settings = [f"CLOISTER_{field.name.upper()}" for field in msgspec.structs.fields(Settings)]
    return aws(ours) | _of(ours, (*PROXIES, *AUTHORITIES, *settings)) | away | operator(account) | {
        "AWS_ENDPOINT_URL_BEDROCK": bedrock_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock_url,
        "CLOISTER_TICKET_SECRET": TICKET_SECRET,
        "CLOISTER_AUDIT_KEY": account["audit_key_arn"],
        "CLOISTER_CONTENT_KEY": account["content_key_arn"],
        "CLOISTER_ISSUER": account["issuer"],
        "CLOISTER_ISSUER_CLIENT_IDS": account["client_ids"],
        "CLOISTER_ISSUER_SCOPES": account["machine_scope"],
        "CLOISTER_SIGNIN_CLIENT_ID": account["password_client"],
        "CLOISTER_BROWSER_CLIENT_ID": account["web_client"],
        "CLOISTER_TERMINAL_CLIENT_ID": account["terminal_client"],
        "CLOISTER_PUBLIC_URL": base_url,
        "CLOISTER_MAIL_SENDER": "status@cloister.example",
    }  # fmt: skip


def bootstrap(
    ours: Environment, account: Environment, bedrock_url: str, base_url: str, bedrock_key: str
) -> dict[str, str]:
    """As the gateway; and the key here, because an argument is seen by everybody."""
    return gateway(ours, account, bedrock_url, base_url) | {"CLOISTER_BEDROCK_KEY": bedrock_key}


def operator(account: Environment) -> dict[str, str]:
    """What leads an AWS client to the local cloud as its operator; in `.local/env`, too."""
    return {
        "AWS_ENDPOINT_URL": account["url"],
        "AWS_REGION": layout.REGION,
        "AWS_DEFAULT_REGION": layout.REGION,
        "AWS_ACCESS_KEY_ID": account["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": account["secret_access_key"],
    }


def _of(ours: Environment, names: Iterable[str]) -> dict[str, str]:
    return {name: ours[name] for name in names if name in ours}
