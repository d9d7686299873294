"""One screen of any blocks: as many lines as there is room for, nothing wider, and what is left out is counted."""

import re

import pytest

from lab.pages.screens import lines_of
from lastbit.report.blocks import Code, Heading, Table, Text
from lastbit.report.one_screen import LINES, one_screen


def table(rows, marked=()):
    return Table(("n", "what"), [(number, "word " * 9) for number in range(rows)], right=("n",), marked=marked)


def test_what_fits_stays_as_it_is():
    blocks = [Heading("h"), table(5), Code("a\n  b"), Text("t")]
    shown = one_screen(blocks)
    assert [len(block.rows) for block in shown if isinstance(block, Table)] == [5]
    assert "more" not in " ".join(lines_of(shown))


@pytest.mark.parametrize("sizes", [(200,), (40, 40), (7, 90, 3)])
@pytest.mark.parametrize("code", [0, 50])
def test_long_tables_and_listings_share_the_room(sizes, code):
    blocks = [
        Text("verdict " * 30),
        *map(table, sizes),
        Code("\n".join(f"line {n}" for n in range(code))),
        Text("last"),
    ]
    lines = lines_of(one_screen(blocks))
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "last"
    told = sum(map(int, re.findall(r"^(\d+) more (?:row|line)s?: -v$", "\n".join(lines), re.MULTILINE)))
    shown = sum(line.strip().endswith("word") for line in lines) + sum("line " in line for line in lines)
    assert told + shown == sum(sizes) + code


def test_marked_rows_stay_before_others():
    (shown, _) = one_screen([table(100, marked=(3, 57, 99))], 12)
    kept = [row[0] for row in shown.rows]
    assert {3, 57, 99} <= set(kept)
    assert kept == sorted(kept)
    assert [kept[place] for place in shown.marked] == [3, 57, 99]


def test_text_and_the_first_rows_are_never_left_out():
    blocks = [Text(f"sentence {number}.") for number in range(40)]
    shown = one_screen([*blocks, table(100)])
    assert sum(isinstance(block, Text) for block in shown) == 41
    assert [len(block.rows) for block in shown if isinstance(block, Table)] == [4]
