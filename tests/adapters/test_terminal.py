"""Lines, bars and tables are printed as they are given."""

from __future__ import annotations

import pytest

from mlflow_recall.adapters.terminal import Terminal

#: what rich would read as styles, one of them never closed
MARKED = "run: pip install '.[example]' [/red]"


def test_brackets_are_no_styles(capsys: pytest.CaptureFixture[str]) -> None:
    """An extra in a command that a message recommends must not vanish from it."""
    terminal = Terminal()

    terminal.info(MARKED)
    with terminal.progress(MARKED, 1) as bar:
        bar.advance(status=MARKED)
    terminal.table(MARKED, [{MARKED: MARKED}])

    shown = capsys.readouterr()
    assert shown.err.count(MARKED) == 3
    assert shown.out.count(MARKED) == 3


def test_a_warning_is_marked_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    """It stands among lines of information on standard error, and must not be missed there."""
    terminal = Terminal()

    terminal.info("one line")
    terminal.warning(MARKED)

    assert capsys.readouterr().err.splitlines() == ["one line", f"warning: {MARKED}"]


def test_a_long_cell_is_folded_and_nothing_of_it_is_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A digest has no blanks at which a line could break."""
    digest = "0123456789abcdef" * 16

    Terminal().table("failed", [{"why": digest}])

    shown = "".join(c for c in capsys.readouterr().out if c in "0123456789abcdef")
    assert shown.endswith(digest)


def test_no_name_acts_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A model may be called anything: a name must not move the cursor or be two lines."""
    name = "m\x1b[2J\x07\u202e\nfake: done :smile: http://me:hush@host"
    terminal = Terminal()

    terminal.info(name)
    terminal.warning(name)
    with terminal.progress(name, 1) as bar:
        bar.advance(status=name)
    terminal.table(name, [{name: name}])

    shown = capsys.readouterr()
    for text in (shown.err, shown.out):
        assert not {"\x1b", "\x07", "\u202e"} & {*text}
        assert "hush" not in text
        assert ":smile:" in text
        assert not any(line.startswith("fake") for line in text.splitlines())
