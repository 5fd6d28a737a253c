"""Owns the page of a report."""

from __future__ import annotations

from vllm.testing.report import Report


def as_html(report: Report) -> str:
    return "<pre>" + report.to_json() + "</pre>"
