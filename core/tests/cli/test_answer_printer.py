"""What `vllm chat` and `vllm complete` print of an answer, and where."""

from __future__ import annotations

import io

import pytest

from vllm.entrypoints.cli.answer_printer import AnswerPrinter, Piece


def printed(*pieces: Piece) -> str:
    """The text that the printer gives in the end."""
    printer = AnswerPrinter()
    for piece in pieces:
        printer.add(piece)
    return printer.end()


def test_reasoning_stays_out_of_what_is_piped(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [Piece(reasoning="Hm, "), Piece(reasoning="so"), Piece(), Piece(text="It "), Piece(text="is.")]
    assert printed(*pieces) == "It is."
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("It is.\n", "Hm, so\n")


def test_an_answer_that_is_reasoning_alone_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(Piece(reasoning="Hm")) == ""
    captured = capsys.readouterr()
    thought, words, end = captured.err.split("\n")
    assert (captured.out, thought, end) == ("", "Hm", "")
    assert "only reasoning came" in words and "--max-tokens" in words and "--reasoning-parser" in words


def test_no_answer_at_all_is_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(Piece()) == ""
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("\n", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_reasoning_dimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    printed(Piece(reasoning="Hm"), Piece(text="Yes."))
    assert terminal.getvalue() == "\033[2mHm\033[0m\n"
