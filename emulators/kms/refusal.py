"""Every way that the local KMS says no, by KMS's own error names (the service model of botocore)."""


class KmsError(Exception):
    """An answer that is an error. `code` is what an SDK calls it; `text` is public and quotes no secret."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> KmsError:
    return KmsError("ValidationException", text)


def not_found(text: str) -> KmsError:
    return KmsError("NotFoundException", text)


def wrong_usage(text: str) -> KmsError:
    return KmsError("InvalidKeyUsageException", text)


def not_openable() -> KmsError:
    """One text, whatever is wrong with the ciphertext or its encryption context."""
    return KmsError("InvalidCiphertextException", "The ciphertext or its encryption context is not valid.")
