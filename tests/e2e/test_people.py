"""The people whom `make run` prints, with the tokens of the local Cognito at the gateway."""

from urllib.parse import urlsplit

import httpx
import openai
import pytest
from openai import OpenAI

from tests.emulators.cognito.served import fill
from tests.local.killing import aws, sign_in, user_pool
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

KEY = {"role": "viewer"}


@pytest.fixture(scope="module")
def owner(running_system: RunningSystem) -> str:
    """Their access token."""
    return token(running_system, "PERSON")


@pytest.fixture(scope="module")
def viewer(running_system: RunningSystem) -> str:
    return token(running_system, "VIEWER")


def token(system: RunningSystem, who: str) -> str:
    entrance = (system.env[f"CLOISTER_{who}_EMAIL"], system.env[f"CLOISTER_{who}_PASSWORD"])
    return str(sign_in(system, *entrance)["AuthenticationResult"]["AccessToken"])


def asked(system: RunningSystem, bearer: str, method: str, path: str, body: object = None) -> httpx.Response:
    url = f"{system.base_url}/tenants/{system.tenant}{path}"
    return httpx.request(method, url, json=body, headers={"authorization": f"Bearer {bearer}"}, timeout=PATIENCE_S)


def test_a_token_is_what_a_key_is_to_openais_client(running_system: RunningSystem, owner: str) -> None:
    client = OpenAI(base_url=f"{running_system.base_url}/tenants/{running_system.tenant}/v1", api_key=owner)
    question = [{"role": "user", "content": "What is Cloister?"}]
    answer = client.chat.completions.create(model="demo", messages=question, max_tokens=20)
    assert answer.choices[0].message.content
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key=owner[:-8] + "AAAAAAAA").models.list()


def test_the_owner_makes_keys_and_the_viewer_looks_on(running_system: RunningSystem, owner: str, viewer: str) -> None:
    made = asked(running_system, owner, "POST", "/keys", KEY)
    assert made.status_code == 201
    assert asked(running_system, viewer, "POST", "/keys", KEY).status_code == 403
    assert asked(running_system, viewer, "GET", "/v1/models").status_code == 200
    assert asked(running_system, owner, "DELETE", f"/keys/{made.json()['key']['id']}").is_success


def test_the_owner_signs_in_at_the_page_and_out_again(running_system: RunningSystem) -> None:
    began = httpx.get(f"{running_system.base_url}/signin/{running_system.tenant}", timeout=PATIENCE_S)
    where = urlsplit(began.headers["location"])
    with httpx.Client(base_url=f"{where.scheme}://{where.netloc}", timeout=PATIENCE_S) as browser:
        page = browser.get(where.geturl(), follow_redirects=True)
        person = {name: running_system.env[f"CLOISTER_PERSON_{name}"] for name in ("EMAIL", "PASSWORD")}
        sent_back = fill(browser, page, username=person["EMAIL"], password=person["PASSWORD"])
    back = sent_back.headers["location"]
    assert back.startswith(f"{running_system.base_url}/signin/callback?")
    done = httpx.get(back, headers={"Cookie": cookies(began)}, timeout=PATIENCE_S)
    assert "You are signed in." in done.text
    ours = {"Cookie": cookies(done), "Origin": running_system.base_url, "X-Cloister-Page": "1"}
    url = f"{running_system.base_url}/tenants/{running_system.tenant}"
    chat = {"model": "demo", "messages": [{"role": "user", "content": "What is Cloister?"}], "max_tokens": 8}
    assert httpx.post(f"{url}/v1/chat/completions", json=chat, headers=ours, timeout=PATIENCE_S).status_code == 200
    out = httpx.post(f"{running_system.base_url}/signin/{running_system.tenant}/out", headers=ours, timeout=PATIENCE_S)
    assert (
        httpx.get(out.json()["issuer_logout"], timeout=PATIENCE_S).headers["location"] == f"{running_system.base_url}/"
    )
    assert httpx.get(f"{url}/usage", headers=ours, timeout=PATIENCE_S).status_code == 401


def cookies(answer: httpx.Response) -> str:
    """Those that it set, as a browser sends them."""
    return "; ".join(each.partition(";")[0] for each in answer.headers.get_list("set-cookie"))


def test_who_is_in_the_pool_and_was_invited_nowhere_finds_no_tenant(running_system: RunningSystem) -> None:
    cognito, stranger = aws(running_system, "cognito-idp"), {"UserPoolId": user_pool(running_system)}
    stranger |= {"Username": "stranger@elsewhere.example"}
    cognito.admin_create_user(**stranger, TemporaryPassword="Temporary-1234")
    cognito.admin_set_user_password(**stranger, Password="Of-a-stranger-1", Permanent=True)
    theirs = sign_in(running_system, stranger["Username"], "Of-a-stranger-1")["AuthenticationResult"]["AccessToken"]
    cognito.admin_delete_user(**stranger)
    assert asked(running_system, theirs, "GET", "/v1/models").status_code == 404
