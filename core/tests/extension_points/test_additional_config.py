"""`--additional-config`: whatever a plugin's users tell it. The platform checks it before anything is loaded, and changes a copy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.tests.extension_points.engines import assert_refused, example_engine
from vllm.config import VllmConfig
from vllm.errors import ConfigError
from vllm_cpu_ref.platform import CpuRefPlatform


class TunablePlatform(CpuRefPlatform):
    """`{"lanes": N}`: N requests at once, for each of which the device has a lane."""

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        lanes = config.additional_config.get("lanes", 2)
        if not isinstance(lanes, int) or not 1 <= lanes <= 4:
            raise ConfigError(f"additional_config.lanes is {lanes!r}; the device has 1 to 4.")
        scheduler = replace(config.scheduler_config, max_num_seqs=min(lanes, config.scheduler_config.max_num_seqs))
        return replace(config, scheduler_config=scheduler)


@pytest.mark.parametrize("given, slots", [({"lanes": 3}, 3), (None, 2)])
def test_it_reaches_the_platform(given: dict[str, int] | None, slots: int) -> None:
    with example_engine(TunablePlatform, additional_config=given) as engine:
        assert engine.config.scheduler_config.max_num_seqs == slots
        assert engine.collective_rpc(lambda worker: worker.config.additional_config) == [given or {}]


def test_the_platform_refuses_in_its_own_words() -> None:
    assert_refused(ConfigError, r"lanes is 9; the device has 1 to 4", TunablePlatform, additional_config={"lanes": 9})
