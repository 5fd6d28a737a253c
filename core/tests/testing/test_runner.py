"""Runs of the kit without pytest: what holds, what breaks, what raises and what is excused, and that silence is no excuse."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import torch

from core.tests.testing import platforms
from vllm.errors import ConfigError
from vllm.messages import SampledLogprobs
from vllm.platforms import Platform
from vllm.sampling.step import SamplerOutput
from vllm.testing import Report, bounded_executor, run_laws, workplace
from vllm.testing.bench import Bench
from vllm.testing.catalogue import all_laws, select_laws
from vllm.testing.law import Law, LawBroken
from vllm.testing.report import Outcome, Status, Verdict
from vllm.testing.sampling_table import _compare_logprobs
from vllm.testing.workplace import Workplace


def path_of(platform_cls: type[Platform]) -> str:
    return f"{platform_cls.__module__}.{platform_cls.__qualname__}"


def run(platform_cls: type[Platform], *laws: str, **options: object) -> Report:
    return run_laws(path_of(platform_cls), laws=laws, quick=True, **options)  # type: ignore[arg-type]


def only(report: Report) -> Outcome:
    (outcome,) = report.outcomes
    return outcome


def test_a_sound_platform_passes() -> None:
    report = run(
        platforms.SoundPlatform, "contract", "ops", "attention", "sampler", "generation.equals_dense_reference"
    )
    assert [outcome.detail for outcome in report.broken] == []
    assert report.passed
    assert report.count(Status.PASSED) > 40
    assert (report.platform, report.device, report.dtypes) == ("sound", "host", ("float32",))
    assert report.versions.keys() >= {"vllm-core", "torch"}


def test_a_broken_law_says_what_was_found_and_by_how_much_it_is_off() -> None:
    report = run(platforms.MisscaledPlatform, "attention.ragged_rows")
    outcome = only(report)
    assert not report.passed
    assert outcome.status is Status.FAILED
    assert outcome.worst is not None and outcome.worst.error > outcome.worst.limit == 1e-5
    assert "the error is" in outcome.detail and "worst at (" in outcome.detail


def test_an_op_without_eps_is_caught_by_the_norms_alone() -> None:
    report = run(platforms.MisnamedOpsPlatform, "ops")
    assert {outcome.law for outcome in report.broken} == {"ops.rms_norm", "ops.rms_norm_with_residual"}


def test_what_a_platform_raises_is_an_error_of_the_law_with_its_traceback() -> None:
    outcome = only(run(platforms.RaisingPlatform, "memory.memory_info_is_plausible"))
    assert outcome.status is Status.ERROR
    assert "OSError: the driver does not answer" in outcome.detail and "memory_info" in outcome.detail


def test_a_platform_without_dtypes_still_gets_its_report() -> None:
    report = run(platforms.SpeechlessPlatform, "contract.dtypes_are_declared", "ops.linear")
    assert [outcome.status for outcome in report.outcomes] == [Status.ERROR]
    assert report.dtypes == ()


def test_a_declined_feature_excuses_with_its_reason() -> None:
    report = run(platforms.WindowlessPlatform, "attention.sliding_window")
    outcome = only(report)
    assert outcome.status is Status.EXCUSED
    assert outcome.detail == f"sliding window: unsupported ({platforms.WHY_NO_WINDOW})"
    assert report.verdict is Verdict.UNTESTED, "an excuse alone proves nothing"
    assert run(platforms.WindowlessPlatform, "attention.sliding_window", "attention.soft_cap").passed
    assert [entry.why for entry in report.declined if entry.feature == "sliding_window"] == [platforms.WHY_NO_WINDOW]


def test_what_is_declined_must_agree_with_the_backend() -> None:
    outcome = only(run(platforms.WindowlessPlatform, "contract.capabilities_fit_the_classes"))
    assert outcome.status is Status.FAILED
    assert outcome.detail == "sliding windows: capability, DenseAttention: found False, expected True"
    outcome = only(run(platforms.CaplessPlatform, "contract.capabilities_fit_the_classes"))
    assert outcome.detail == "soft caps: capability, DenseAttention: found False, expected True"


def test_silence_is_no_excuse() -> None:
    outcome = only(run(platforms.SilentPlatform, "attention.sliding_window"))
    assert outcome.status is Status.FAILED
    assert "says nothing about sliding window: declare it full, or decline it with a reason" in outcome.detail


def test_signatures_and_torch_in_doctor() -> None:
    laws = ("contract.the_platform_fills_its_contract", "contract.its_module_needs_no_torch")
    first, second = run(platforms.OldSignaturePlatform, *laws).outcomes
    assert "OldSignaturePlatform.set_device" in first.detail and "cannot be called as the contract says" in first.detail
    assert "found ['doctor()'], expected []" in second.detail


def test_a_mapping_that_is_written_into_is_seen() -> None:
    outcome = only(run(platforms.MeddlingPlatform, "contract.the_configuration_settles"))
    assert outcome.detail == "check_and_update_config changed its argument"


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_a_rank_that_never_comes_back_ends_the_law_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplace, "RANKS_TIMEOUT_s", 1.0)
    before = children()
    report = run_laws(path_of(platforms.LonelyPlatform), laws=["collectives.all_reduce"], dtypes=["float32"])
    assert "was not answered within 1 s by" in only(report).detail
    assert children() <= before


@pytest.mark.parametrize(
    ("platform_cls", "law", "stage"),
    [
        (platforms.ShyPlatform, "collectives.all_reduce", "init_device"),
        (platforms.ColdPlatform, "generation.two_ranks_equal_one", "warm_up"),
    ],
)
def test_a_rank_that_hangs_in_a_stage_is_named_with_it_and_leaves_no_process(
    platform_cls: type[Platform], law: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_executor, "STAGE_TIMEOUT_s", 6.0)
    before = children()
    outcome = only(run_laws(path_of(platform_cls), laws=[law], dtypes=["float32"]))
    assert (outcome.law, outcome.status) == (law, Status.ERROR)
    assert f"The stage {stage} was not finished in time" in outcome.detail and "Worker 1 (pid" in outcome.detail
    assert children() <= before


def test_too_few_devices_are_no_proof_and_no_excuse() -> None:
    report = run_laws(path_of(platforms.SoloPlatform), laws=["collectives"], dtypes=["float32"])
    assert {outcome.status for outcome in report.outcomes} == {Status.NOT_TESTABLE}
    assert "device_count() is 1 here, and this law needs 2" in {outcome.detail for outcome in report.outcomes}
    assert report.verdict is Verdict.UNTESTED and not report.passed


def test_float32_is_left_out_with_a_reason() -> None:
    law = "contract.dtypes_are_declared"
    assert "leaves float32 out, in which laws are sharpest" in only(run(platforms.SixteenBitsPlatform, law)).detail
    report = run(platforms.ExplainedSixteenBitsPlatform, law, "ops.linear")
    assert report.passed and report.dtypes == ("bfloat16",), "the laws run in the best dtype that there is"
    assert "its lanes are 16 bits wide" in {entry.why for entry in report.declined}, "and the report says why"


def test_a_partial_sleep_is_kept_as_far_as_it_goes_and_the_rest_is_said() -> None:
    outcome = only(run(platforms.DrowsyPlatform, "generation.sleeping_changes_nothing"))
    assert (outcome.status, outcome.detail) == (Status.PASSED, "sleep level 2, which is refused")


def test_a_law_that_found_nothing_to_check_says_so() -> None:
    report = run(platforms.SoundPlatform, "attention.left_padding", dtypes=["float32"])
    assert only(report).status is Status.PASSED
    assert "asks for no padding on the left" in only(report).detail


def test_no_log_probability_in_common_is_a_broken_law_and_no_error() -> None:
    def reported(token: int) -> SamplerOutput:
        table = SampledLogprobs(
            rows_R=np.zeros(1, np.int32),
            token_ids_RK=np.array([[token]], np.int32),
            logprobs_RK=np.array([[-1.0]], np.float32),
            num_R=np.ones(1, np.int32),
            sampled_rank_R=np.ones(1, np.int32),
        )
        return SamplerOutput(tokens_N=torch.tensor([token]), logprobs=table)

    with Workplace(path_of(platforms.SoundPlatform)) as place, pytest.raises(LawBroken, match="the error is inf"):
        _compare_logprobs(Bench(place, "float32"), "a step", reported(3), reported(5))


@pytest.mark.parametrize(
    ("platform_cls", "laws"),
    [
        (platforms.SmallBlocksPlatform, ["attention.many_rows", "attention.long_contexts", "attention.ragged_rows"]),
        (platforms.LargeBlocksPlatform, ["attention.ragged_rows", "generation.preempted_equals_uninterrupted"]),
    ],
)
def test_laws_fit_any_block_size(platform_cls: type[Platform], laws: list[str]) -> None:
    report = run_laws(path_of(platform_cls), laws=laws, dtypes=["float32"])
    assert [outcome.detail for outcome in report.broken] == []
    assert report.count(Status.PASSED) == len(laws)


def test_free_memory_in_another_unit_is_seen_beside_a_peak_that_is_right() -> None:
    outcome = only(run(platforms.KibibytesPlatform, "memory.an_allocation_is_seen"))
    assert outcome.status is Status.FAILED and "in other units" in outcome.detail


def test_an_interruption_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms.SoundPlatform, "memory_info", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(platforms.SoundPlatform, "memory.memory_info_is_plausible")


def interrupt(*_: object) -> tuple[int, int]:
    raise KeyboardInterrupt


def test_dtypes_are_chosen() -> None:
    law = "ops.linear"
    assert [o.dtype for o in run(platforms.SoundPlatform, law).outcomes] == ["float32"]
    assert [o.dtype for o in run(platforms.SoundPlatform, law, dtypes=["bfloat16"]).outcomes] == ["bfloat16"]
    every = run_laws(path_of(platforms.SoundPlatform), laws=[law])
    assert [o.dtype for o in every.outcomes] == ["float32", "bfloat16"]
    with pytest.raises(ConfigError, match="does not support the dtype 'float16'"):
        run(platforms.SoundPlatform, law, dtypes=["float16"])


def test_watchers_see_each_law_begin_and_end() -> None:
    seen: list[str] = []
    run(
        platforms.SoundPlatform,
        "ops.linear",
        "sampler.greedy",
        on_start=lambda law, dtype: seen.append(f"> {law.full_name} {dtype}"),
        on_outcome=lambda outcome: seen.append(f"{outcome.status.value} {outcome.law}"),
    )
    assert seen == [
        "> ops.linear float32",
        "passed ops.linear",
        "> sampler.greedy float32",
        "passed sampler.greedy",
    ]


def test_an_unknown_law_names_near_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"No law is called 'attention.sliding_windows'(?s:.*)attention.sliding_window"
    ):
        select_laws(["attention.sliding_windows"])


def test_laws_are_chosen_by_area_name_and_pattern() -> None:
    def names(laws: tuple[Law, ...]) -> set[str]:
        return {law.full_name for law in laws}

    assert names(select_laws(["ops.linear"])) == {"ops.linear"}
    assert names(select_laws(["*.rms_norm*"])) == {"ops.rms_norm", "ops.rms_norm_with_residual"}
    assert {law.area for law in select_laws(["memory", "sampler"])} == {"memory", "sampler"}
    assert names(select_laws(quick=True)) < names(select_laws()) == names(all_laws())


def test_nothing_checked_is_not_passed() -> None:
    report = run(platforms.SpeechlessPlatform, "ops.linear")
    assert report.outcomes == () and not report.passed


def test_a_quick_run_without_laws_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"none of the laws collectives(?s:.*)leave --quick out"):
        select_laws(["collectives"], quick=True)


def test_what_is_expensive_is_made_once() -> None:
    made: list[int] = []
    with Workplace(path_of(platforms.SoundPlatform)) as workplace:
        assert [workplace.kept("key", lambda: made.append(1) or len(made)) for _ in range(3)] == [1, 1, 1]
