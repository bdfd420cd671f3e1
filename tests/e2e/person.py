"""A browser with a person who signs in, wherever it is led: `python -m tests.e2e.person MAIL PASSWORD URL`."""

import sys
from urllib.parse import urlsplit

import httpx

from tests.emulators.cognito.served import fill
from tests.patience import PATIENCE_S


def main(mail: str, password: str, url: str) -> None:
    where = urlsplit(url)
    with httpx.Client(base_url=f"{where.scheme}://{where.netloc}", timeout=PATIENCE_S, trust_env=False) as browser:
        page = browser.get(url, follow_redirects=True)
        back = fill(browser, page, username=mail, password=password).headers["location"]
        elsewhere = browser.get(back.partition("?")[0] + "?code=of-somebody-else&state=unknown")
        assert elsewhere.status_code == 404
        assert "You are signed in." in browser.get(back).text


if __name__ == "__main__":
    main(*sys.argv[1:])
