"""What a tenant asked to be kept: encrypted under a data key of the tenant's own, and gone when its time is over.

    pieces      how it is cut and sealed: pure       data_keys    a tenant's data key, wrapped by KMS
    kms         the service that wraps               store        the pieces in DynamoDB
    memory      twins of both                        kept         what is kept, put together

A content is named by its tenant and an id, and has fields; each is bytes to this room.
"""

from chalicelib.contents.kept import Contents
from chalicelib.contents.pieces import Pieces

__all__ = ["Contents", "Pieces"]
