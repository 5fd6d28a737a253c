"""What a wheel's METADATA says: fields, requirements without extras, and the cores that it claims under any spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.tests.releases import METADATA, make_wheel
from ci.wheel_metadata import core_range, read_metadata, requirements

_CLAIM = "Requires-Dist: vllm-core<0.2.dev0,>=0.1.dev0\n"


def test_the_fields_are_those_of_the_wheel(tmp_path: Path) -> None:
    assert read_metadata(make_wheel(tmp_path))["Name"] == "vllm-plugin-cpu-ref"


def test_what_an_extra_or_another_machine_asks_for_does_not_count(tmp_path: Path) -> None:
    elsewhere = METADATA.replace(_CLAIM, _CLAIM + 'Requires-Dist: tomli; python_version < "3.0"\n')
    assert [each.name for each in requirements(make_wheel(tmp_path, metadata=elsewhere))] == ["vllm-core", "numpy"]


@pytest.mark.parametrize("name", ["vllm-core", "vllm_core", "VLLM.Core"])
def test_a_claim_is_read_whichever_way_its_name_is_spelled(tmp_path: Path, name: str) -> None:
    spelled = METADATA.replace("Requires-Dist: vllm-core<", f"Requires-Dist: {name}<")
    assert str(core_range(make_wheel(tmp_path, metadata=spelled))) == "<0.2.dev0,>=0.1.dev0"


def test_a_claim_is_read_past_an_extras_and_there_may_be_none(tmp_path: Path) -> None:
    extra = 'Requires-Dist: vllm-core[testing]>=7; extra == "testing"\n'
    both = make_wheel(tmp_path / "both", metadata=METADATA.replace(_CLAIM, extra + _CLAIM))
    assert str(core_range(both)) == "<0.2.dev0,>=0.1.dev0"
    assert core_range(make_wheel(tmp_path / "extra", metadata=METADATA.replace(_CLAIM, extra))) is None
