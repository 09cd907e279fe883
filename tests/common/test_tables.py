"""Tables as CSV: what is written comes back, and what is damaged is refused."""

import pytest

from thorax.common.tables import as_csv, read_csv, whole

NAMES = ["=1+1", "@site", "'tis", "a,b", 'a "b"', "two\nlines", "line\u2028separator", "\x85", ""]


@pytest.mark.parametrize("name", NAMES)
def test_texts_come_back_as_they_were(name: str) -> None:
    columns, rows = read_csv(as_csv([{"case": name, "dice": 0.5}], ["case", "dice"]))
    assert columns == ("case", "dice")
    assert rows == [{"case": name, "dice": "0.5"}]


@pytest.mark.parametrize("text", ["case,dice\nann\n", "case,dice\nann,0,5\n"])
def test_rows_of_another_length_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="as the header, 2, but row 1 has not"):
        read_csv(text)


def test_what_is_no_csv_is_refused() -> None:
    with pytest.raises(ValueError, match="field larger than field limit"):
        read_csv("case\n" + "a" * 200_000 + "\n")


def test_a_table_without_its_end_is_refused() -> None:
    """0.75 may have been 0.7512."""
    assert whole("case,dice\nann,0.75\n") == "case,dice\nann,0.75\n"
    with pytest.raises(ValueError, match="cut short"):
        whole("case,dice\nann,0.75")
