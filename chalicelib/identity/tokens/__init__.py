"""Tokens of OpenID Connect issuers (JWTs): who made them, for whom, do they still hold. Loaded by the first one.

    form       a token taken apart, nothing of it proved      judging    its claims against an issuer: both pure
    keys       an issuer's keys, and whose signature it is    discovery  where they are, by egress
    keysets    which keys an issuer has now: kept, renewed    verified   all of it, in order; begin there

What an issuer says of itself is believed only where it was configured, by the operator or by a tenant: a token's header
leads nowhere. A verified token is remembered by its digest until it ends, or its key is no longer its issuer's.
"""
