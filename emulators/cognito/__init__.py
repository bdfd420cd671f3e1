"""The local Cognito: user pools whose people and machines get real tokens, by a page of its own or by the JSON API.

    records, directory                    what a pool holds, kept in rows
    keys, tokens                          what signs, and what it says of somebody
    passwords, credentials                whether somebody is who they say
    momentary                             codes, browsers and challenges: gone with the process
    operations, requests                  the JSON API, as botocore's clients speak it
    authentication, administration          what anybody may call, and what operators may
    hosted, pages                         the sign-in page
    grants, exchange                      the endpoints of OAuth, which give tokens
    control                               wrong claims, other keys and faults, on command
    asgi                                  in front of the other services
    randomness, refusal                   what nobody may guess; what callers are refused with

Not on moto: there all pools sign with one key, which lies in its source, and there is no page and no endpoint of OAuth.
docs/local-cognito.md says what is here and what is not.
"""

from emulators.cognito.asgi import LocalCognito

__all__ = ["LocalCognito"]
