"""Keys as bytes sort as DynamoDB sorts what they stand for."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from emulators.dynamodb.ordered_keys import ordered

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=8)


@given(NUMBERS, NUMBERS)
def test_numbers_sort_by_value_and_equal_ones_are_one_key(one: Decimal, other: Decimal) -> None:
    first, second = ordered({"N": str(one)}), ordered({"N": str(other)})
    assert (first < second, first == second) == (one < other, one == other)


@given(st.text(), st.text())
def test_strings_sort_by_their_utf8(one: str, other: str) -> None:
    assert (ordered({"S": one}) < ordered({"S": other})) == (one.encode() < other.encode())


def test_the_smallest_and_the_greatest_have_a_place() -> None:
    texts = ["-9.9E+125", "-1E-130", "0", "1E-130", "9.9E+125"]
    keys = [ordered({"N": text}) for text in texts]
    assert keys == sorted(keys)
