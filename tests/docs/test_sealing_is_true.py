"""What the pages about sealing promise is what the code does, and each limit stands there for as long as it holds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from chalicelib.admission.memory import MemoryMeters
from chalicelib.api.admin import DAY_S, KeyEpochRequest
from chalicelib.call import SealMode
from chalicelib.contents import data_keys
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.identity import KeyHolder, identify
from chalicelib.inference.sealed import DAY_MS, KEEP_MS
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.snapshot import Snapshots
from cloister import trust
from emulators.security_module import Authority, SimulatedSecurityModule
from enclave.attested_kms import Recipient
from enclave.configuration import Configuration
from enclave.epochs import MOST_EPOCHS
from guard import SentRules
from sealed import attestation, esdk, hpke, hpke_keys

ROOT = Path(__file__).parents[2]
MINUTE_MS = 60_000


def page(name: str) -> str:
    """Its text in one line, so that a sentence is found wherever its lines are broken."""
    return re.sub(r"\s+", " ", (ROOT / name).read_text())


SECURITY = page("docs/security.md")
FORMATS = page("docs/sealed-formats.md")
ENCLAVE = page("docs/enclave.md")
CLIENT = page("client/README.md")
WORDS = {"five": 5, "seven": 7, "ten": 10}

RECIPIENT = Recipient(SimulatedSecurityModule(Authority.made(0), clock=int))
(LIFETIME,) = msgspec.structs.fields(KeyEpochRequest)
MOST_EPOCH_DAYS = hpke_keys.MOST_EPOCH_MS // DAY_MS

FIGURES: list[tuple[str, str, int]] = [
    (SECURITY, r"a multiple of (\d+) bytes in mode hpke", hpke.STREAM_MULTIPLE_BYTES),
    (SECURITY, r"frames of ([\d,]+) in esdk", esdk.STREAM_FRAME_BYTES),
    (FORMATS, r"(\d+) bytes in `hpke`, 1,024 in `esdk`", hpke.STREAM_MULTIPLE_BYTES),
    (SECURITY, r"last for more than (\d+) days", MOST_EPOCH_DAYS),
    (SECURITY, r"ends within (\d+) days", MOST_EPOCH_DAYS),
    (FORMATS, r"more than (\d+) days", MOST_EPOCH_DAYS),
    (FORMATS, r"91 days \(([\d,]+) ms\)", hpke_keys.MOST_EPOCH_MS),
    (ENCLAVE, r"last for more than (\d+) days", MOST_EPOCH_DAYS),
    (ENCLAVE, r"up to (\d+) epochs", MOST_EPOCHS),
    (CLIENT, r"last for more than (\d+) days", MOST_EPOCH_DAYS),
    (SECURITY, r"within an epoch: (\w+) days by default", LIFETIME.default // DAY_S),
    (SECURITY, r"by default, (\d+) at most", 90),
    (SECURITY, r"charged, for (\w+) years", KEEP_MS["esdk"] // (365 * DAY_MS)),
    (SECURITY, r"at most (\w+) minutes old, and holds", attestation.MAX_AGE_MS // MINUTE_MS),
    (SECURITY, r"holds it unwrapped for (\w+) minutes", data_keys.HELD_MS // MINUTE_MS),
    (CLIENT, r"again every (\w+) minutes", trust.TRUST_MS // MINUTE_MS),
    (
        SECURITY,
        r"under RSA-(\d+)",
        RECIPIENT.private_key.key_size,
    ),
]


@pytest.mark.parametrize(("text", "pattern", "value"), FIGURES, ids=[pattern for _, pattern, _ in FIGURES])
def test_figures_are_those_of_the_code(text: str, pattern: str, value: int) -> None:
    said = [WORDS.get(word) or int(word.replace(",", "")) for word in re.findall(pattern, text)]
    assert said
    assert set(said) == {value}


@pytest.mark.parametrize("lifetime_s", [90 * DAY_S, 90 * DAY_S + 1])
def test_no_epoch_that_gateways_ask_for_is_too_long_for_those_who_use_it(lifetime_s: int) -> None:
    asked = msgspec.json.encode({"lifetime_s": lifetime_s})
    if lifetime_s > 90 * DAY_S:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(asked, type=KeyEpochRequest)
    else:
        assert msgspec.json.decode(asked, type=KeyEpochRequest).lifetime_s * 1_000 < hpke_keys.MOST_EPOCH_MS
    assert KEEP_MS["hpke"] >= hpke_keys.MOST_EPOCH_MS  # a request is remembered for as long as it could be opened


def proves_possession(mode: SealMode) -> bool:
    no_tenants = Snapshots(MemoryDocuments(), MemoryMeters())
    with pytest.raises(Unauthenticated) as refused:
        identify(KeyHolder(None, mode), "acme", no_tenants.fresh, 0)
    return refused.value.text == Unauthenticated.API_KEY  # it went on to ask for the tenant


def test_the_one_mode_that_proves_possession_is_the_one_on_the_page() -> None:
    assert [mode for mode in get_args(SealMode) if proves_possession(mode)] == re.findall(
        r"`auth: kms`\), \*\*in mode (\w+) only\*\*", SECURITY
    )


def source(folder: str, suffix: str = "*.py") -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / folder).rglob(suffix)))


DOCKERFILE = (ROOT / "enclave" / "Dockerfile").read_text()
# What ends a limit, as far as code can tell: whoever mends it is told here to take it off the page.
LIMITS: dict[str, tuple[str, Callable[[], bool]]] = {
    "PCR0 covers a file that no tenant sees": (SECURITY, lambda: "COPY enclave.json" in DOCKERFILE),
    "Rules are the gateway's word": (
        SECURITY,
        lambda: {field.name for field in msgspec.structs.fields(SentRules)} == {"rules", "key_tools"},
    ),
    "KMS endpoints, by which somebody else's KMS": (
        SECURITY,
        lambda: "kms_endpoints" in {field.name for field in msgspec.structs.fields(Configuration)},
    ),
    "Padding comes after the first hop": (SECURITY, lambda: "padding" not in source("sagemaker/serving/sealing")),
    "Post-quantum between client and enclave only": (
        SECURITY,
        # Debian 12 has OpenSSL 3.0; ML-KEM came with 3.5 (https://github.com/openssl/openssl/blob/master/CHANGES.md).
        lambda: "-slim-bookworm@" in DOCKERFILE and "MLKEM" not in source("enclave"),
    ),
    "Nothing in `infra/` raises an alarm": (
        SECURITY,
        lambda: not re.search(r"(?<!kms:)PutKeyPolicy", source("infra", "*.yaml")),  # an event's name, not an action
    ),
    "The program publishes nothing by itself, and no client checks it": (
        SECURITY,
        lambda: "configuration" not in source("sealed", "measurements.py"),
    ),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_on_the_page_for_as_long_as_it_is_there(limit: str) -> None:
    text, holds = LIMITS[limit]
    assert (limit in text) == holds()


def test_each_limit_says_what_is_planned() -> None:
    limits = (ROOT / "docs" / "security.md").read_text().partition("\n## Limits\n")[2].partition("\n## ")[0]
    sections = limits.split("\n### ")[1:]
    assert len(sections) == 6
    for section in sections:
        assert "Planned:" in section, section.partition("\n")[0]


def test_every_row_of_the_threats_has_an_answer_to_each_question() -> None:
    threats = (ROOT / "docs" / "security.md").read_text().partition("\n## Threats in tier A\n")[2].partition("\n## ")[0]
    rows = [row.strip("|").split("|") for row in threats.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 10
    for who, *answers in rows:
        assert len(answers) == 3, who
        assert all(re.search(r"\b(Yes|No|Seen)\b|only with a nonce", answer) for answer in answers), who


def test_every_member_of_the_enclaves_configuration_is_documented() -> None:
    table = (ROOT / "docs" / "enclave.md").read_text().partition("\n## Configuration\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert documented == [field.name for field in msgspec.structs.fields(Configuration)]


PAGES = {name: (ROOT / name).read_text() for name in ("docs/security.md", "docs/enclave.md", "docs/sealed-formats.md")}


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_into_the_pages_about_sealing_find_their_heading() -> None:
    linking = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "client" / "README.md"]
    for source_page in linking:
        for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", source_page.read_text()):
            name = f"docs/{Path(target).name}" if target else str(source_page.relative_to(ROOT))
            if "://" not in target and name in PAGES:
                assert anchor in anchors(PAGES[name]), f"{source_page.name}: {target}#{anchor}"
