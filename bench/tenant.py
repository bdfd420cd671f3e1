"""The bench's tenant, its key and its pool, as Cloister's tables hold them."""

NAME = "bench"


def new_key() -> str:
    return "ck_x"
