"""A deployment with two tenants that have everything that a tenant may have, and a look at all that its tables hold."""

from collections.abc import Iterator

import msgspec

from chalicelib.admission.limits import DEFAULT_LIMITS
from chalicelib.documents import PLATFORM
from chalicelib.dynamodb import Item, Tables
from chalicelib.journal import Event, Journal
from chalicelib.ledger.records import Ledger
from chalicelib.privacy.eraser import Eraser
from chalicelib.privacy.items import TABLES, Items
from chalicelib.privacy.records import Erasure, Erasures
from chalicelib.tenancy.sessions import Lifetime
from chalicelib.tenancy.tenant import RegisteredKey, Sealing, VelocityRule
from chalicelib.velocity.reviews import Evidence, Reviews
from chalicelib.velocity.whose import operators, owners
from chalicelib.velocity.windows import window_at
from guard import Rules
from tests.ledger.arrange import entry
from tests.small_deployments import Deployment, dynamodb
from tests.stores import REGION

ISSUER = "https://login.example.com"
RULE = VelocityRule("addresses", 20)


class World:
    """`acme`, and `acme-2`, whose name begins alike."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.deployment = Deployment(dynamodb(tables))
        self.clock = self.deployment.clock
        self.deployment.pool("acme")  # whose name is a tenant's
        self.erasures = Erasures(self.deployment.store.documents)
        for tenant in ("acme", "acme-2"):
            self._fill(tenant)

    def canaries(self, tenant: str) -> tuple[str, ...]:
        """Texts that stand in what that tenant has, and nowhere else."""
        return f"ada@{tenant}.example", f"bob@{tenant}.example", f"label-of-{tenant}.", f"word-of-{tenant}."

    def eraser(self, tables: Tables | None = None) -> Eraser:
        """Of a process of its own."""
        deployment = Deployment(dynamodb(tables)) if tables else self.deployment
        deployment.clock = self.clock
        return Eraser(
            {REGION: Items(tables or self.tables)},
            Erasures(deployment.store.documents),
            deployment.tenancy.closing.close,
            self.clock,
        )

    def ask(self, tenant: str = "acme") -> Erasure:
        """As somebody who dies right after it."""
        return self.erasures.begin(Erasure(tenant, "job", "owner", self.clock()))

    def held(self) -> dict[tuple[str, str, str], Item]:
        """Every item of every table, by its table and keys."""
        return {(table, *keys): item for table in TABLES for keys, item in self._scanned(table)}

    def of(self, tenant: str) -> dict[tuple[str, str, str], Item]:
        """What a search for a tenant finds, however it stands there; not the pool of that name."""
        held = {at: item for at, item in self.held().items() if at[2] != f"pool#{tenant}"}
        return {
            at: item
            for at, item in held.items()
            if at[1] == tenant or at[1].startswith(f"{tenant}#") or f"#{tenant}#" in f"{at[2]}#" or _says(item, tenant)
        }

    def _scanned(self, table: str) -> Iterator[tuple[tuple[str, str], Item]]:
        answer = self.tables.call("Scan", TableName=self.tables.name(table), ConsistentRead=True)
        assert not answer.get("LastEvaluatedKey")
        for item in answer["Items"]:
            yield (item["pk"]["S"], item.get("sk", {}).get("S", "")), item

    def _fill(self, tenant: str) -> None:
        tenancy, store, now_ms = self.deployment.tenancy, self.deployment.store, self.clock()
        arn = f"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-{len(tenant):012}"
        self.deployment.tenant(
            tenant, pools=("acme",), origins=(f"https://word-of-{tenant}.example",), limits=DEFAULT_LIMITS,
            sealing=Sealing(keys=(RegisteredKey("arn:aws:kms:us-east-1:111122223333:key/0", 0),)),
        )  # fmt: skip
        ada, bob = f"ada@{tenant}.example", f"bob@{tenant}.example"
        for subject, role in ((ada, "owner"), (bob, "viewer")):
            tenancy.people.put(tenant, subject, role)
        tenancy.people.join(ISSUER, f"sub-{tenant}", ada, of_tenant=None)
        (member,) = [each for each in tenancy.people.members(tenant) if each.subject == ada]
        tenancy.sessions.begin(tenant, member, Lifetime(1_800_000, 43_200_000), "192.0.2.7", f"word-of-{tenant}.")
        key, _ = tenancy.create_key(tenant, "owner", label=f"label-of-{tenant}.", member=ada)
        tenancy.kms_keys.register(tenant, arn)
        tenancy.kms_keys.challenge(tenant, f"{arn}9", "digest")
        tenancy.principals.put(tenant, (f"arn:aws:iam::111122223333:role/word-of-{tenant}.",))
        tenancy.guardrails.put(tenant, Rules(packs=("cards",)))
        for whose in (operators(tenant), owners(tenant)):
            Reviews(store.documents).tell(whose, RULE, Evidence(tenant, f"member:{ada}", "192.0.2.7"), now_ms)
        for place in (tenant, f"{tenant}#own", f"{tenant}#key:{key.id}"):
            store.windows.add(place, window_at(60, now_ms), {"prompts": (b"digest", 9)})
        store.ledger.claim(tenant, "digest", "lease", now_ms, 60_000)
        self._write(store.ledger, tenant, f"member:{ada}")
        journal = Journal(store.ledger, self.clock, self.deployment.chance)
        event = Event(
            tenant=tenant, subject=f"member:{ada}", proof="jwt", by=tenant, action="put_member", object=bob,
            source_ip="192.0.2.7", request_id="r",
        )  # fmt: skip
        journal.end([tenant], journal.begin([tenant], event), 200, "")
        used = {"pk": tenant, "sk": "h#1795000000000#0", "doc": f'{{"member":"{ada}"}}'}
        self._put("usage", used)
        self._put("ledger", {"pk": "~late", "sk": f"01m3ya7c1s#{tenant}#1795000000000"})
        contents = self.deployment.contents
        assert contents is not None
        contents.claim(tenant, "resp_1", now_ms + 60_000)
        contents.keep(tenant, "resp_1", {"response": b"x" * 400_000}, now_ms + 60_000)

    def _put(self, table: str, item: dict[str, str]) -> None:
        stored = {name: {"S": value} for name, value in item.items()}
        self.tables.call("PutItem", TableName=self.tables.name(table), Item=stored)

    def _write(self, ledger: Ledger, tenant: str, subject: str) -> None:
        for number in range(3):
            ledger.put_if_absent(msgspec.structs.replace(entry(self.clock() + number, tenant=tenant), subject=subject))


def _says(item: Item, tenant: str) -> bool:
    text = item.get("doc", {}).get("S", "")
    return item["pk"]["S"] == PLATFORM and f'"tenant":"{tenant}"' in text
