"""Every way that the local Cognito says no: by the JSON API's error names, and by OAuth's."""


class CognitoError(Exception):
    """An error of the JSON API. `code` is what an SDK calls it; `text` is public."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class OAuthError(Exception):
    """An error of `/oauth2/token` and its neighbours (RFC 6749, 5.2). Cognito tells its code alone, with status 400."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PageError(Exception):
    """What a person reads where their browser can be sent nowhere: the client or its address is not known."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def invalid(text: str) -> CognitoError:
    return CognitoError("InvalidParameterException", text)


def not_authorized(text: str) -> CognitoError:
    return CognitoError("NotAuthorizedException", text)


def not_found(text: str) -> CognitoError:
    return CognitoError("ResourceNotFoundException", text)
