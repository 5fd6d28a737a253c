"""`python -m core.tests.mutants > mutants.md`: which law caught which mutant, as a Markdown table. Exit status 1 if one survives."""

from __future__ import annotations

import inspect
import logging
import sys

from core.tests.mutants.catalogue import MUTANTS, caught_by
from vllm.testing.workplace import Workplace


def main() -> int:
    """One row per mutant, as it is checked."""
    logging.disable(logging.WARNING)
    survivors = 0
    print("| mutant | what is broken | caught by |\n| --- | --- | --- |")
    with Workplace("vllm_cpu_ref.platform.CpuRefPlatform") as pair:
        for mutant in MUTANTS:
            caught = caught_by(mutant, pair)
            survivors += not caught
            laws = ", ".join(f"`{law}`" for law in caught) or "**nothing: it survives**"
            print(f"| {mutant.__name__} | {inspect.getdoc(mutant)} | {laws} |", flush=True)
    print(f"\n{len(MUTANTS)} mutants, {survivors} survive.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
