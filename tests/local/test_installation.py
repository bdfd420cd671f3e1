"""How far an installation is, by what pip says."""

import pytest

from local.installation import progress

PIP_23 = """\
Collecting chalice==1.34.0 (from -r local/requirements.txt (line 7))
  Downloading chalice-1.34.0-py3-none-any.whl.metadata (12 kB)
  Downloading chalice-1.34.0-py3-none-any.whl (265 kB)
Collecting xllamacpp==0.2.0
  Using cached xllamacpp-0.2.0-cp311-cp311-manylinux_2_17_x86_64.whl (34.5 MB)
Collecting zae==1
  Downloading https://files.example/packages/ab/zae-1.tar.gz (900 bytes)
Installing collected packages: zae, chalice, xllamacpp
Successfully installed chalice-1.34.0 xllamacpp-0.2.0 zae-1
"""


def test_each_package_and_each_file_moves_it_on() -> None:
    assert list(progress(PIP_23.splitlines(keepends=True))) == [
        "1 packages, 0 MB: chalice",
        "1 packages, 0 MB: chalice",
        "1 packages, 0 MB: chalice",
        "2 packages, 0 MB: xllamacpp",
        "3 packages, 0 MB: zae",
        "3 packages, 0 MB: zae",
        "3 packages, 0 MB: installing",
        "3 packages, 0 MB: installed",
    ]


@pytest.mark.parametrize("line", ["Requirement already satisfied: moto", "Looking in indexes: https://pypi.org", ""])
def test_what_is_no_file_moves_nothing(line: str) -> None:
    assert list(progress([line])) == []
