"""The local DynamoDB: moto's wire and rules over tables in a file.

    rows             items in SQLite, in the order of their keys
    ordered_keys     a key as bytes that sort as DynamoDB sorts it
    reach            which items an operation may look at: pure
    service          one call: what it may look at is lent to moto, and what it wrote is kept before it is answered

Moto holds every item as a tree of Python objects, for as long as it lives, and looks through all of them for a query.
Here it holds those of the call at hand. docs/decisions/008-local-tables-in-a-file.md says why.
"""

from emulators.dynamodb.rows import Rows
from emulators.dynamodb.service import Service

__all__ = ["Rows", "Service"]
