"""Tables as CSV: texts are preserved, and damaged tables are rejected."""

import pytest

from thorax.common.tables import as_csv, read_csv, require_complete

NAMES = ["=1+1", "@site", "'tis", "a,b", 'a "b"', "two\nlines", "line\u2028separator", "\x85", ""]


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_preserved(name: str) -> None:
    columns, rows = read_csv(as_csv([{"case": name, "dice": 0.5}], ["case", "dice"]))
    assert columns == ("case", "dice")
    assert rows == [{"case": name, "dice": "0.5"}]


@pytest.mark.parametrize("text", ["case,dice\nann\n", "case,dice\nann,0,5\n"])
def test_rows_of_another_length_are_rejected(text: str) -> None:
    with pytest.raises(
        ValueError, match="must have 2 cells like the header, but row 1 has more or fewer"
    ):
        read_csv(text)


def test_a_text_that_is_not_csv_is_rejected() -> None:
    with pytest.raises(ValueError, match="field larger than field limit"):
        read_csv("case\n" + "a" * 200_000 + "\n")


def test_an_incomplete_table_is_rejected() -> None:
    """0.75 may be the beginning of 0.7512."""
    assert require_complete("case,dice\nann,0.75\n") == "case,dice\nann,0.75\n"
    with pytest.raises(ValueError, match="cut short"):
        require_complete("case,dice\nann,0.75")
