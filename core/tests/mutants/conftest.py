"""Says below the tests, as a Markdown table, which law caught which mutant."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = [row for report in reports for name, row in report.user_properties if name == "mutant"]
    if rows:
        terminalreporter.section(f"{len(rows)} mutants")
        terminalreporter.write_line("| mutant | what is broken | caught by |\n| --- | --- | --- |")
        terminalreporter.write_line("\n".join(rows))
