from tests.ledger.conftest import ledger as ledger
