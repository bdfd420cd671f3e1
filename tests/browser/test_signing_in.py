"""Signing in at the running system by a real browser, which keeps cookies by its own rules and not by ours."""

from collections.abc import Callable
from typing import Any

from tests.local_system import RunningSystem

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "What is Cloister?"}], "max_tokens": 8}


def test_a_person_signs_in_chats_and_signs_out_and_nobody_elses_page_does_anything_meanwhile(
    running_system: RunningSystem, browse: Callable[..., dict[str, Any]], others: dict[str, str]
) -> None:
    env, gateway = running_system.env, running_system.base_url
    person = {"mail": env["CLOISTER_PERSON_EMAIL"], "password": env["CLOISTER_PERSON_PASSWORD"]}
    said = browse("signing_in.mjs", gateway=gateway, tenant=running_system.tenant, chat=CHAT, others=others, **person)

    # They are signed in, by a cookie that no script reads, and no token has come near the browser.
    assert said["landed"] == f"{gateway}/"
    cookie = said["cookie"]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
    assert said["seenByScripts"] == "{}{}"
    assert (said["tokens"], said["strangers"], said["failed"]) == ([], [], [])
    assert said["chatted"]["status"] == 200, said["chatted"]
    assert said["withoutHeader"]["status"] == 403

    # To a page of our site the browser sends the cookie along, to one of another it does not; neither gets anywhere.
    for name, status in (("of our site", 403), ("elsewhere", 401)):
        met = said["others"][name]
        assert met["chats"] == [status, status]  # by a script, and by a form
        assert {met[how]["kind"] for how in ("preflighted", "read")} == {"refused"}
    assert said["still"]["status"] == 200

    # The address with the code in it opens nothing twice, and ends nothing.
    assert said["againSaid"]["status"] == 401 and "Begin again" in said["againSaid"]["text"]
    assert said["afterAgain"]["status"] == 200

    # Signed out, here and at the issuer, they are nobody, on whichever page.
    assert (said["left"]["status"], said["cookiesLeft"], said["back"]["status"]) == (401, [], 401)
    assert "Begin again" in said["back"]["text"]
    assert said["landedOut"] == f"{gateway}/"
    assert said["askedAgain"]
