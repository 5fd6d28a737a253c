"""The law "core names no vendor": finds vendor names and vendor calls in core's sources.

Core may name `vllm-plugin-cpu-ref` as the thing to install. Everything else about a chip belongs to its plugin.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "main", "scan_text", "scan_tree"]

_SUFFIXES = {".py", ".pyi", ".cpp", ".h"}
_VENDORS = "ascend|spyre|sendnn|npu|cann|hccl|nccl|rocm|xpu|hpu|tpu|cuda"
_ACCESSORS = f"is_(?:{_VENDORS}|cuda_alike)"

# A name counts when letters do not continue it on either side: `torch_npu` and `NPUWorker` do, `input` and `descend` do not.
_LAWS = (
    ("calls a vendor's part of torch", re.compile(r"\btorch\.(?:cuda|npu|xpu|hpu|mps|version\.(?:cuda|hip))\b")),
    ("asks for a vendor instead of a capability", re.compile(rf"\b{_ACCESSORS}\b")),
    ("names a vendor", re.compile(rf"(?<![a-z])(?:{_VENDORS.removesuffix('|cuda')})(?![a-z])", re.IGNORECASE)),
    ("names a vendor", re.compile(r"(?<![A-Za-z])(?:Ascend|Spyre|NPU|HCCL|ROCm|TPU|XPU)(?=[A-Z][a-z])")),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One place that breaks the law. `line` counts from 1."""

    file: Path
    line: int
    text: str
    law: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: core {self.law}: {self.text.strip()}"


def scan_text(text: str, file: Path) -> Iterator[Finding]:
    """Findings of one file's text, at most one per line."""
    for number, line in enumerate(text.splitlines(), start=1):
        broken = next((law for law, pattern in _LAWS if pattern.search(line)), None)
        if broken is not None:
            yield Finding(file=file, line=number, text=line, law=broken)


def scan_tree(root: Path) -> list[Finding]:
    """Findings of every source file below `root`, in the order of paths."""
    files = sorted(path for path in root.rglob("*") if path.suffix in _SUFFIXES)
    return [finding for file in files for finding in scan_text(file.read_text(encoding="utf-8"), file)]


def main(arguments: Sequence[str]) -> int:
    """`python -m ci.vendor_free [ROOT]`: prints the findings; 1 when there are any."""
    root = Path(arguments[0]) if arguments else Path("core/src")
    if not root.is_dir():
        print(f"{root} is not a folder: nothing would be checked", file=sys.stderr)
        return 2
    findings = scan_tree(root)
    print(*findings, sep="\n")
    print(f"{len(findings)} vendor names in {root}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
