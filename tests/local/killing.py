"""Kills the local system with all its processes while it is written to, starts it again, and compares:

    python -m tests.local.killing [KILLS] [SEED]

Whatever had been confirmed before the kill must be there after it: tenants, API keys (which must still let in, or be
refused where they had been revoked), KMS keys and secrets of the account, and the ledger's entry of each answered
request. After how many confirmations it dies, and in which order its processes do, is drawn from the seed.
"""

import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import botocore.session
import httpx
from botocore.exceptions import BotoCoreError, ClientError

from tests.local.pids import await_gone, family
from tests.local_system import RunningSystem, local_system
from tests.patience import PATIENCE_S

FEWEST, MOST = 5, 60
WRITERS = 4
QUESTION = {"model": "demo", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}


class Confirmed:
    """What the system has said to be done. Threads share it."""

    def __init__(self) -> None:
        self.tenants: list[str] = []
        self.keys: dict[str, str] = {}  # their text, by id
        self.revoked: dict[str, str] = {}
        self.requests: list[str] = []
        self.kms_keys: list[str] = []
        self.secrets: dict[str, str] = {}
        self.people: list[str] = []
        self.changed = threading.Condition()

    def count(self) -> int:
        ours = (self.tenants, self.keys, self.revoked, self.requests, self.kms_keys, self.secrets, self.people)
        return sum(map(len, ours))

    def note(self, add: Callable[[], object]) -> None:
        with self.changed:
            add()
            self.changed.notify_all()


class Writer(threading.Thread):
    """Writes until the system is gone."""

    def __init__(self, system: RunningSystem, confirmed: Confirmed, seed: int) -> None:
        super().__init__(daemon=True)
        self._system = system
        self._confirmed = confirmed
        self._random = random.Random(seed)
        self._http = client(system)

    def run(self) -> None:
        writes = [
            self._tenant,
            self._key,
            self._ask,
            self._ask,
            self._revoke,
            self._kms_key,
            self._secret,
            self._person,
        ]
        with suppress(httpx.HTTPError, HTTPException, OSError, BotoCoreError, ClientError):
            while True:
                self._random.choice(writes)()

    def _tenant(self) -> None:
        name = f"t{self._random.randrange(2**40):x}"
        if self._http.post("/admin/tenants", json={"id": name, "name": name}).status_code == 201:
            self._confirmed.note(lambda: self._confirmed.tenants.append(name))

    def _key(self) -> None:
        answer = self._http.post(f"/admin/tenants/{self._system.tenant}/keys", json={"role": "developer"})
        if answer.status_code == 201:
            made = answer.json()
            self._confirmed.note(lambda: self._confirmed.keys.update({made["key"]["id"]: made["api_key"]}))

    def _revoke(self) -> None:
        with self._confirmed.changed:
            if not self._confirmed.keys:
                return
            name, text = self._confirmed.keys.popitem()  # nobody says of it what it is till that is confirmed
        path = f"/tenants/{self._system.tenant}/keys/{name}"
        answer = self._http.delete(path, headers={"authorization": f"Bearer {self._system.api_key}"})
        if answer.is_success:
            self._confirmed.note(lambda: self._confirmed.revoked.update({name: text}))

    def _ask(self) -> None:
        answer = ask(self._http, self._system, self._system.api_key)
        if answer.status_code == 200:
            self._confirmed.note(lambda: self._confirmed.requests.append(answer.headers["x-request-id"]))

    def _kms_key(self) -> None:
        made = aws(self._system, "kms").create_key()["KeyMetadata"]["Arn"]
        self._confirmed.note(lambda: self._confirmed.kms_keys.append(made))

    def _secret(self) -> None:
        name, text = f"s{self._random.randrange(2**40):x}", secrets.token_hex(8)
        aws(self._system, "secretsmanager").create_secret(Name=name, SecretString=text)
        self._confirmed.note(lambda: self._confirmed.secrets.update({name: text}))

    def _person(self) -> None:
        mail = f"p{self._random.randrange(2**40):x}@demo.example"
        aws(self._system, "cognito-idp").admin_create_user(UserPoolId=user_pool(self._system), Username=mail)
        self._confirmed.note(lambda: self._confirmed.people.append(mail))


def client(system: RunningSystem) -> httpx.Client:
    return httpx.Client(
        base_url=system.base_url, timeout=60, headers={"authorization": f"Bearer {system.admin_key}"}, trust_env=False
    )


def ask(http: httpx.Client, system: RunningSystem, key: str) -> httpx.Response:
    path = f"/tenants/{system.tenant}/v1/chat/completions"
    return http.post(path, json=QUESTION, headers={"authorization": f"Bearer {key}"})


def aws(system: RunningSystem, service: str) -> Any:
    return botocore.session.Session().create_client(
        service,
        region_name=system.env["AWS_REGION"],
        endpoint_url=system.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=system.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=system.env["AWS_SECRET_ACCESS_KEY"],
    )


def user_pool(system: RunningSystem) -> str:
    return system.env["CLOISTER_ISSUER"].rpartition("/")[2]


def sign_in(system: RunningSystem, mail: str, password: str) -> dict[str, Any]:
    """By mail address and password: what Cognito answers."""
    cognito, pool = aws(system, "cognito-idp"), user_pool(system)
    listed = cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=60)["UserPoolClients"]
    (client_id,) = [each["ClientId"] for each in listed if each["ClientName"] == "password"]
    given = {"USERNAME": mail, "PASSWORD": password}
    asked = {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": client_id, "AuthParameters": given}
    answer: dict[str, Any] = cognito.initiate_auth(**asked)
    return answer


def kill(system: RunningSystem, chance: random.Random) -> None:
    """All of its processes, with no time for anything."""
    everyone = family(system.process.pid)
    chance.shuffle(everyone)
    for pid in everyone:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    system.process.wait()
    await_gone(everyone)


def lost(system: RunningSystem, confirmed: Confirmed) -> list[str]:
    """What had been confirmed and is not so."""
    http = client(system)
    told = http.get("/admin/tenants").json()["tenants"]
    tenants = {tenant["id"] for tenant in told}
    missing = [f"tenant {name}" for name in confirmed.tenants if name not in tenants]
    models = f"/tenants/{system.tenant}/v1/models"
    for name, text in confirmed.keys.items():
        if http.get(models, headers={"authorization": f"Bearer {text}"}).status_code != 200:
            missing.append(f"key {name}")
    for name, text in confirmed.revoked.items():
        if http.get(models, headers={"authorization": f"Bearer {text}"}).status_code != 401:
            missing.append(f"revocation of {name}")
    entries = _ledger(http, system)
    missing += [f"ledger entry {name}" for name in confirmed.requests if name not in entries]
    kms, vault = aws(system, "kms"), aws(system, "secretsmanager")
    for arn in confirmed.kms_keys:
        sealed = kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
        if kms.decrypt(CiphertextBlob=sealed)["Plaintext"] != b"x":
            missing.append(f"KMS key {arn}")
    for name, text in confirmed.secrets.items():
        if vault.get_secret_value(SecretId=name)["SecretString"] != text:
            missing.append(f"secret {name}")
    cognito = aws(system, "cognito-idp")
    for mail in confirmed.people:
        try:
            cognito.admin_get_user(UserPoolId=user_pool(system), Username=mail)
        except cognito.exceptions.UserNotFoundException:
            missing.append(f"person {mail}")
    return missing


def _ledger(http: httpx.Client, system: RunningSystem) -> set[str]:
    found: set[str] = set()
    page: dict[str, Any] = {"limit": 100}
    while True:
        headers = {"authorization": f"Bearer {system.api_key}"}
        answer = http.get("/v1/dashboard/requests", params=page, headers=headers).json()
        found |= {entry["requestId"] for entry in answer["requests"]}
        if not (cursor := answer["cursor"]):
            return found
        page["cursor"] = cursor


def story(state_dir: Path, kills: int, seed: int, say: Callable[[str], None]) -> list[str]:
    """What was lost; nothing, where all is well."""
    chance = random.Random(seed)
    confirmed = Confirmed()
    key, person, missing = "", ("", ""), list[str]()
    for number in range(kills + 1):
        with local_system(state_dir) as system:
            if number:
                missing += lost(system, confirmed)
                assert system.api_key == key, "the demo tenant's key has changed"
                assert ask(client(system), system, key).status_code == 200
                assert (system.env["CLOISTER_PERSON_EMAIL"], system.env["CLOISTER_PERSON_PASSWORD"]) == person
                assert sign_in(system, *person)["AuthenticationResult"]
            say(f"start {number}: {confirmed.count()} confirmed so far, {len(missing)} of them lost")
            if number == kills:
                return missing
            key = system.api_key
            person = (system.env["CLOISTER_PERSON_EMAIL"], system.env["CLOISTER_PERSON_PASSWORD"])
            enough = confirmed.count() + chance.randrange(FEWEST, MOST)
            writers = [Writer(system, confirmed, chance.randrange(2**32)) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            with confirmed.changed:
                assert confirmed.changed.wait_for(lambda: confirmed.count() >= enough, PATIENCE_S)  # noqa: B023  # at once
            kill(system, chance)
            for writer in writers:
                writer.join()
    return missing


def main(kills: int, seed: int) -> int:
    began = time.monotonic()
    print(f"{kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cloister-kills-") as folder:
        missing = story(Path(folder), kills, seed, lambda line: print(line, flush=True))
    print(*missing, sep="\n", end="\n" if missing else "")
    print(f"{len(missing)} lost; {time.monotonic() - began:.0f} s")
    return 1 if missing else 0


if __name__ == "__main__":
    told = [int(word) for word in sys.argv[1:]]
    sys.exit(main(told[0] if told else 10, told[1] if len(told) > 1 else random.randrange(2**32)))
