from tests.tenancy.conftest import store as store
