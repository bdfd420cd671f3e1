"""Signing in by a browser, at the sign-in page of the operator's issuer (OpenID Connect: a code, with PKCE).

    attempt     one sign-in under way, which the browser alone knows of: pure
    endpoints   where the issuer's page is, where codes are exchanged, and where one signs out
    exchange    from a code to who somebody is: all of it, in order; begin there

Nothing of what the issuer hands out leaves here: of its tokens we read one, once, and keep none.
"""
