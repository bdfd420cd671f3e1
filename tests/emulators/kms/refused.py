from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError


@contextmanager
def refused(code: str, text: str = "") -> Iterator[None]:
    """KMS says no, by this name and in words with this among them."""
    with pytest.raises(ClientError) as error:
        yield
    said = error.value.response["Error"]
    assert said["Code"] == code, said
    assert text in said["Message"], said
