"""What a person sees: the form to sign in, the one for a new password, and why it goes no further.

No script, nothing from elsewhere; readable by whoever listens to a page instead of looking at it.
"""

import base64
import hashlib
from html import escape
from urllib.parse import urlsplit

import msgspec

_STYLE = """
:root { color-scheme: light dark; --ink: #16202c; --soft: #51606f; --page: #f2f4f7; --card: #fff; --line: #7c8997;
  --strong: #1f5fbf; --on-strong: #fff; --wrong: #a8201a; --wrong-page: #fdeceb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9eef4; --soft: #a9b6c3; --page: #10161d; --card: #1a222c;
  --line: #74828f; --strong: #8ab8ff; --on-strong: #0b1a2e; --wrong: #ffb4ad; --wrong-page: #3b1917; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; align-items: center;
  justify-content: center; gap: 1rem; padding: 1.5rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 25rem; background: var(--card); border-radius: 0.75rem; padding: 2rem;
  box-shadow: 0 1px 3px #0003, 0 8px 30px #0000001a; }
h1 { margin: 0 0 0.25rem; font-size: 1.6rem; line-height: 1.25; }
p { margin: 0 0 1.25rem; color: var(--soft); }
label { display: block; margin: 1rem 0 0.35rem; font-weight: 600; }
input { width: 100%; min-height: 2.75rem; padding: 0.5rem 0.75rem; font: inherit; color: inherit;
  background: transparent;  border: 1px solid var(--line); border-radius: 0.5rem; }
button { width: 100%; min-height: 2.75rem; margin-top: 1.75rem; font: inherit; font-weight: 600;
  color: var(--on-strong); background: var(--strong); border: 0; border-radius: 0.5rem; cursor: pointer; }
input:focus-visible, button:focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
.wrong { margin: 1rem 0; padding: 0.75rem 1rem; color: var(--wrong); background: var(--wrong-page);
  border-radius: 0.5rem; }
footer { max-width: 25rem; font-size: 0.875rem; color: var(--soft); text-align: center; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
<footer>This page stands in for Amazon Cognito on this machine.</footer>
</body>
</html>
"""
_FORM = """<p>{lead}</p>
{wrong}<form method="post" action="/login?{query}">
<input type="hidden" name="_csrf" value="{csrf}">
{fields}
<button type="submit">{button}</button>
</form>"""
_PERSON = """<label for="username">Email address</label>
<input id="username" name="username" type="email" autocomplete="username" required value="{mail}"{focus_mail}{said}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{focus_password}{said}>"""
_RENEWAL = """<input type="hidden" name="session" value="{session}">
<input type="hidden" name="username" autocomplete="username" value="{mail}">
<label for="new_password">New password</label>
<input id="new_password" name="new_password" type="password" autocomplete="new-password" required autofocus>"""


class Form(msgspec.Struct, frozen=True):
    mail: str = ""
    wrong: str = ""
    """What was, in a sentence for the person."""
    session: str = ""
    """Of somebody whose password was right, and is temporary: they choose another."""


def sign_in(form: Form, *, query: str, csrf: str, pool: str) -> str:
    wrong = f'<p class="wrong" id="wrong" role="alert">{escape(form.wrong)}</p>\n' if form.wrong else ""
    if form.session:
        title, lead, button = "Choose a password", "Yours was temporary. The new one stays.", "Continue"
        fields = _RENEWAL.format(session=escape(form.session), mail=escape(form.mail))
    else:
        title, lead, button = "Sign in", f"To go on to {escape(pool)}.", "Sign in"
        focus = {"focus_mail": "" if form.mail else " autofocus", "focus_password": " autofocus" if form.mail else ""}
        said = ' aria-describedby="wrong" aria-invalid="true"' if form.wrong else ""
        fields = _PERSON.format(mail=escape(form.mail), said=said, **focus)
    content = _FORM.format(lead=lead, wrong=wrong, query=escape(query), csrf=escape(csrf), fields=fields, button=button)
    return _PAGE.format(title=title, style=_STYLE, content=content)


def no_further(why: str) -> str:
    content = (
        f'<p class="wrong" role="alert">{escape(why)}</p>\n<p>Go back to it and try again, or tell its operator.</p>'
    )
    return _PAGE.format(title="This goes no further", style=_STYLE, content=content)


def headers(redirect_uri: str = "") -> list[tuple[str, str]]:
    """`redirect_uri`: where the form leads in the end; a browser holds to the policy also while it is sent on."""
    parts = urlsplit(redirect_uri)
    to = f" {parts.scheme}://{parts.netloc}" if redirect_uri else ""
    policy = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'{to}; frame-ancestors 'none'"
    return [
        ("content-security-policy", f"{policy}; base-uri 'none'"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ]
