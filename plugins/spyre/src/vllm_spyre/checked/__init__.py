"""The backend `checked`: steps run on the CPU, and what the card would refuse is refused, by rules that are data (`rules.json`).

A user's tool, loaded only where `VLLM_SPYRE_DYNAMO_BACKEND` is `checked`: no other backend passes through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.logger import init_logger
from vllm_spyre.backends import Backend
from vllm_spyre.checked.compiler import CheckedCompiler
from vllm_spyre.settings import Settings

if TYPE_CHECKING:
    from vllm_spyre.checked.report import Tally

__all__ = ["checked_backend"]

logger = init_logger(__name__)


def checked_backend() -> Backend:
    """The backend, with its report at shutdown."""
    compiler = CheckedCompiler()
    return Backend(
        name="checked",
        compiler=compiler,
        after_warm_up=compiler.after_warm_up,
        at_step=compiler.tally.add_step,
        at_shutdown=lambda: _report(compiler.tally),
        explain=compiler.explain,
    )


def _report(tally: Tally) -> None:
    logger.info("Checked against the card's rules:\n%s", tally)
    path = Settings.read().check_report
    if path is not None:
        tally.write(path)
        logger.info("The report is in %s", path)
