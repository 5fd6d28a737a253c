"""What users of `LLM` see: prompt forms, order, n, seeds, stops, log-probabilities, streaming, errors that touch nobody else."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoTokenizer

from core.tests.generation.conftest import NewLLM
from vllm import LLM, SamplingParams, TokensPrompt
from vllm.errors import ConfigError, DuplicateRequestError, InvalidRequestError
from vllm.outputs import FlatLogprobs
from vllm.sampling_params import BeamSearchParams, StructuredOutputsParams
from vllm.worker.torch_worker import TorchWorker

COUNT = "Count: 17 18 19"
GREEDY = SamplingParams(temperature=0.0, max_tokens=24)


def text(llm: LLM, prompt: object, **fields: object) -> str:
    params = SamplingParams(**{"temperature": 0.0, "max_tokens": 24, **fields})
    return llm.generate(prompt, params, use_tqdm=False)[0].outputs[0].text


def test_the_main_job(llm: LLM) -> None:
    assert text(llm, COUNT).startswith(" 20 21 22 23")


def test_every_prompt_form_gives_the_same(llm: LLM) -> None:
    ids = llm.get_tokenizer().encode(COUNT)
    forms = [
        COUNT,
        ids,
        {"prompt": COUNT},
        {"prompt_token_ids": ids},
        TokensPrompt(prompt_token_ids=ids, cache_salt="pepper"),
    ]
    outputs = llm.generate(forms, GREEDY, use_tqdm=False)
    assert len({output.outputs[0].text for output in outputs}) == 1
    assert [output.prompt for output in outputs] == [COUNT, None, COUNT, None, None]
    assert all(output.prompt_token_ids == ids for output in outputs)


def test_order_is_kept_when_requests_end_in_another(llm: LLM) -> None:
    lengths = [20, 1, 13, 2, 7]
    params = [SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True) for n in lengths]
    outputs = llm.generate([f"Count: {n} " for n in lengths], params, use_tqdm=False)
    assert [len(output.outputs[0].token_ids) for output in outputs] == lengths
    assert [output.prompt for output in outputs] == [f"Count: {n} " for n in lengths]


def test_a_list_of_params_must_fit_the_prompts(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError, match="has 1 entries for 2 prompts"):
        llm.generate(["a", "b"], [GREEDY])


def test_outputs_of_n_differ_and_the_first_is_that_of_n_1(llm: LLM) -> None:
    params = {"temperature": 1.0, "seed": 7, "max_tokens": 16, "ignore_eos": True}
    many = llm.generate(COUNT, SamplingParams(n=4, **params), use_tqdm=False)[0].outputs
    one = llm.generate(COUNT, SamplingParams(n=1, **params), use_tqdm=False)[0].outputs
    assert [output.index for output in many] == [0, 1, 2, 3]
    assert len({tuple(output.token_ids) for output in many}) > 1
    assert many[0].token_ids == one[0].token_ids


def test_unseeded_requests_differ_and_engines_repeat(new_llm: NewLLM) -> None:
    params = SamplingParams(temperature=1.3, max_tokens=16, ignore_eos=True)
    runs = [
        [list(o.outputs[0].token_ids) for o in new_llm(seed=seed).generate(["The"] * 3, params, use_tqdm=False)]
        for seed in (1, 1, 2)
    ]
    assert len({tuple(ids) for ids in runs[0]}) > 1, "three requests draw independently"
    assert runs[0] == runs[1], "the engine's seed decides"
    assert runs[0] != runs[2]


# -- ends --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("include", [False, True])
def test_a_stop_string_across_tokens(llm: LLM, include: bool) -> None:
    params = SamplingParams(temperature=0.0, max_tokens=40, stop=["3 2"], include_stop_str_in_output=include)
    (output,) = llm.generate(COUNT, params, use_tqdm=False)[0].outputs
    assert output.text == " 20 21 22 23 2"[: None if include else -3]
    assert (output.finish_reason, output.stop_reason) == ("stop", "3 2")
    decoded = llm.get_tokenizer().decode(output.token_ids)
    assert "3 2" in decoded and "3 2" not in llm.get_tokenizer().decode(output.token_ids[:-1])


def test_a_stop_token_and_eos(llm: LLM) -> None:
    twenty_one = llm.get_tokenizer().encode(" 21", add_special_tokens=False)
    params = SamplingParams(temperature=0.0, max_tokens=40, stop_token_ids=twenty_one[-1:])
    (output,) = llm.generate(COUNT, params, use_tqdm=False)[0].outputs
    assert (output.finish_reason, output.stop_reason) == ("stop", twenty_one[-1])
    assert output.token_ids[-1] == twenty_one[-1] and not output.text.endswith("1")
    eos = llm.get_tokenizer().eos_token_id
    forced = SamplingParams(temperature=0.0, max_tokens=5, logit_bias={eos: 100.0})
    (output,) = llm.generate(COUNT, forced, use_tqdm=False)[0].outputs
    assert (output.finish_reason, output.stop_reason, list(output.token_ids)) == ("stop", None, [eos])


def test_min_tokens_holds_the_end_off(llm: LLM) -> None:
    eos = llm.get_tokenizer().eos_token_id
    params = SamplingParams(temperature=0.0, max_tokens=9, min_tokens=6, logit_bias={eos: 100.0})
    (output,) = llm.generate(COUNT, params, use_tqdm=False)[0].outputs
    assert len(output.token_ids) == 7 and eos not in output.token_ids[:-1]


def test_bad_words_never_appear_even_after_a_preemption(new_llm: NewLLM) -> None:
    llm = new_llm(num_gpu_blocks_override=21, max_num_seqs=16)
    plain = SamplingParams(temperature=0.0, max_tokens=48, ignore_eos=True)
    banned = SamplingParams(temperature=0.0, max_tokens=48, ignore_eos=True, bad_words=["2", " 24", "3 2"])
    prompts = [f"Count: {n} {n + 1} {n + 2}" for n in range(12, 22)]
    usual = llm.generate(prompts, plain, use_tqdm=False)
    assert all(" 24" in output.outputs[0].text for output in usual)
    clean = llm.generate(prompts, banned, use_tqdm=False)
    assert llm.llm_engine._core.stats().num_preemptions > 0
    assert not any(" 24" in output.outputs[0].text for output in clean)


def test_allowed_token_ids_and_logit_bias(llm: LLM) -> None:
    allowed = [7, 9, 300, 1200]
    (output,) = llm.generate(
        COUNT, SamplingParams(temperature=1.5, seed=1, max_tokens=20, allowed_token_ids=allowed), use_tqdm=False
    )
    assert set(output.outputs[0].token_ids) <= set(allowed)
    (output,) = llm.generate(COUNT, SamplingParams(max_tokens=3, logit_bias={77: 100.0}), use_tqdm=False)
    assert list(output.outputs[0].token_ids) == [77, 77, 77]


def test_max_tokens_none_runs_to_the_end_of_the_context(new_llm: NewLLM) -> None:
    llm = new_llm(max_model_len=64)
    (output,) = llm.generate(COUNT, SamplingParams(temperature=0.0, max_tokens=None, ignore_eos=True), use_tqdm=False)
    assert len(output.prompt_token_ids or ()) + len(output.outputs[0].token_ids) == 64
    assert output.outputs[0].finish_reason == "length"


# -- log-probabilities ---------------------------------------------------------------------------------------------------------


def test_logprobs_hold_the_sampled_token_first_with_rank_and_text(llm: LLM) -> None:
    params = SamplingParams(temperature=1.0, seed=3, max_tokens=12, logprobs=4, ignore_eos=True)
    (output,) = llm.generate(COUNT, params, use_tqdm=False)[0].outputs
    assert output.logprobs is not None and len(output.logprobs) == 12
    total = 0.0
    for token_id, position in zip(output.token_ids, output.logprobs, strict=True):
        assert position is not None and next(iter(position)) == token_id
        ranks = sorted(entry.rank or 0 for entry in position.values())
        assert ranks[:4] == [1, 2, 3, 4] and len(position) in (4, 5)
        best = sorted(position.values(), key=lambda entry: entry.rank or 0)
        assert [entry.logprob for entry in best] == sorted((entry.logprob for entry in best), reverse=True)
        total += position[token_id].logprob
    assert output.cumulative_logprob == pytest.approx(total, abs=1e-5)


def test_flat_logprobs_read_the_same(llm: LLM) -> None:
    params = SamplingParams(temperature=0.0, max_tokens=8, logprobs=2, prompt_logprobs=1)
    plain = llm.generate(COUNT, params, use_tqdm=False)[0]
    params.flat_logprobs = True
    flat = llm.generate(COUNT, params, use_tqdm=False)[0]
    assert isinstance(flat.outputs[0].logprobs, FlatLogprobs)
    assert [set(p) for p in flat.outputs[0].logprobs] == [set(p) for p in plain.outputs[0].logprobs or ()]
    assert (
        flat.prompt_logprobs is not None
        and flat.prompt_logprobs[0] is None
        and len(flat.prompt_logprobs) == len(plain.prompt_logprobs or ())
    )


def test_prompt_logprobs_sum_to_what_scoring_token_by_token_gives(llm: LLM) -> None:
    """The naive way: each prompt token's probability is the forced next token's after the prefix before it."""
    ids = llm.get_tokenizer().encode("The assert statement")
    whole = llm.generate({"prompt_token_ids": ids}, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)[0]
    assert whole.prompt_logprobs is not None
    for length in range(1, len(ids)):
        params = SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=[ids[length]])
        (alone,) = llm.generate({"prompt_token_ids": ids[:length]}, params, use_tqdm=False)[0].outputs
        expected = (alone.logprobs or [{}])[0][ids[length]].logprob  # type: ignore[index]
        found = whole.prompt_logprobs[length]
        assert found is not None and found[ids[length]].logprob == pytest.approx(expected, abs=1e-4)


# -- requests beside each other ------------------------------------------------------------------------------------------------


def test_a_refused_request_touches_nobody(llm: LLM) -> None:
    engine = llm.llm_engine
    engine.add_request("good", COUNT, SamplingParams(temperature=0.0, max_tokens=12))
    for prompt, params, words in (
        ("", SamplingParams(structured_outputs=StructuredOutputsParams(regex="(")), "regex"),
        ([5000], GREEDY, "out of vocabulary"),
        ([1] * 1024, GREEDY, "must be at least 1, got 0"),
        ([], GREEDY, "empty"),
        (COUNT, SamplingParams(logprobs=500), "logprobs"),
        (COUNT, SamplingParams(logit_bias={4000: 1.0}), "logit_bias"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            engine.add_request("bad", prompt, params)
    with pytest.raises(DuplicateRequestError, match="'good'"):
        engine.add_request("good", COUNT, GREEDY)
    outputs = []
    while engine.has_unfinished_requests():
        outputs += engine.step()
    assert outputs[-1].request_id == "good" and outputs[-1].outputs[0].text.startswith(" 20 21")
    assert engine.get_num_unfinished_requests() == 0


def test_abort_frees_everything(llm: LLM) -> None:
    engine = llm.llm_engine
    for i in range(6):
        engine.add_request(f"r{i}", f"{COUNT} {i}", SamplingParams(max_tokens=200, ignore_eos=True, n=2))
    for _ in range(5):
        engine.step()
    engine.abort_request([f"r{i}" for i in range(6)] + ["unknown"])
    while engine.has_unfinished_requests():
        assert engine.step() == []
    assert engine.get_num_unfinished_requests() == 0
    assert engine._core.stats().kv_cache_usage == 0.0


def test_aborted_requests_are_counted(new_llm: NewLLM) -> None:
    engine = new_llm(disable_log_stats=False).llm_engine
    engine.add_request("gone", COUNT, SamplingParams(max_tokens=100, ignore_eos=True, n=2))
    engine.step()
    engine.abort_request("gone")
    while engine.has_unfinished_requests():
        assert engine.step() == []
    ended = {m.labels["finished_reason"]: m.value for m in engine.get_metrics() if m.name == "vllm:request_success"}
    assert {reason: count for reason, count in ended.items() if count} == {"abort": 2}


def test_what_another_request_left_in_the_cache_reaches_nobody(new_llm: NewLLM) -> None:
    """Blocks are recycled: a request that overflowed leaves NaN behind, and a masked NaN is still NaN."""
    llm = new_llm(max_num_batched_tokens=16, max_num_seqs=8)
    prompts = [f"Count: {n} {n + 1} {n + 2}" for n in range(17, 25)]
    wanted = [o.outputs[0].text for o in llm.generate(prompts, GREEDY, use_tqdm=False)]
    llm.reset_prefix_cache()
    llm.collective_rpc(fill_caches, args=(float("nan"),))
    assert [o.outputs[0].text for o in llm.generate(prompts, GREEDY, use_tqdm=False)] == wanted
    assert all(text.startswith(" ") for text in wanted)


@torch.inference_mode()
def fill_caches(worker: TorchWorker, value: float) -> None:
    for tensor in (tensor for kv_cache in worker.runner.kv_caches for tensor in kv_cache):
        tensor.fill_(value)


def test_only_the_first_end_token_is_silent(new_llm: NewLLM) -> None:
    """Models with several end tokens: `stop_reason` tells which of the further ones it was."""
    llm = new_llm(override_generation_config={"eos_token_id": [3, 77]})
    for token, reason in ((3, None), (77, 77)):
        (output,) = llm.generate(COUNT, SamplingParams(max_tokens=4, logit_bias={token: 100.0}), use_tqdm=False)
        assert (output.outputs[0].finish_reason, output.outputs[0].stop_reason) == ("stop", reason)


def test_generate_refuses_the_whole_call_and_leaves_nothing_behind(llm: LLM) -> None:
    with pytest.raises(InvalidRequestError):
        llm.generate([COUNT, [-1]], GREEDY, use_tqdm=False)
    while llm.llm_engine.has_unfinished_requests():
        assert llm.llm_engine.step() == []
    assert text(llm, COUNT).startswith(" 20")


def test_a_lower_priority_number_runs_first(new_llm: NewLLM) -> None:
    engine = new_llm(max_num_seqs=1, scheduling_policy="priority").llm_engine
    for request_id, priority in (("late", 5), ("urgent", -1), ("normal", 0)):
        engine.add_request(request_id, COUNT, SamplingParams(max_tokens=2, ignore_eos=True), priority=priority)
    ended = []
    while engine.has_unfinished_requests():
        ended += [output.request_id for output in engine.step() if output.finished]
    assert ended == ["urgent", "normal", "late"]


def test_prefix_cache_salt_and_reset(new_llm: NewLLM) -> None:
    llm = new_llm()
    prompt = "The assert statement is a convenient way to insert debugging assertions into a program, " * 3

    def cached(**extra: str) -> int | None:
        return llm.generate({"prompt": prompt, **extra}, GREEDY, use_tqdm=False)[0].num_cached_tokens

    assert cached() == 0
    hit = cached()
    assert hit is not None and hit >= 16 and hit % 16 == 0
    assert cached(cache_salt="mine") == 0, "a salt isolates"
    assert cached(cache_salt="mine") == hit
    assert llm.reset_prefix_cache() is True
    assert cached() == 0


# -- the rest of the face ------------------------------------------------------------------------------------------------------


def test_chat_goes_through_the_template(llm: LLM) -> None:
    messages = [{"role": "user", "content": "Repeat: hello"}]
    reference = AutoTokenizer.from_pretrained(llm.llm_engine.config.model_config.model)
    (output,) = llm.chat(messages, GREEDY, use_tqdm=False)
    expected = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert output.prompt == expected
    assert output.outputs[0].text == text(llm, reference.encode(expected, add_special_tokens=False))
    with pytest.raises(InvalidRequestError, match="not a multimodal model"):
        llm.chat([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], GREEDY)


def test_beam_search_finds_what_exhaustive_search_finds(llm: LLM) -> None:
    """Beams as wide as the vocabulary that is allowed to matter: two rounds, checked against scoring every pair by hand."""
    (found,) = llm.beam_search([COUNT], BeamSearchParams(beam_width=4, max_tokens=2, ignore_eos=True))
    ids = llm.get_tokenizer().encode(COUNT)
    step = SamplingParams(temperature=0.0, max_tokens=1, logprobs=8, ignore_eos=True)

    def best_next(tokens: list[int]) -> dict[int, float]:
        (output,) = llm.generate({"prompt_token_ids": tokens}, step, use_tqdm=False)[0].outputs
        return {token: entry.logprob for token, entry in ((output.logprobs or [{}])[0] or {}).items()}

    firsts = sorted(best_next(ids).items(), key=lambda item: -item[1])[:4]
    pairs = [(p1 + p2, [a, b]) for a, p1 in firsts for b, p2 in best_next([*ids, a]).items()]
    expected = sorted(pairs, key=lambda pair: -pair[0])[:4]
    assert [beam.tokens[len(ids) :] for beam in found.sequences] == [tokens for _, tokens in expected]
    assert [beam.cum_logprob for beam in found.sequences] == pytest.approx([p for p, _ in expected], abs=1e-4)


def test_an_engine_that_counts_nothing_has_no_metrics(new_llm: NewLLM) -> None:
    with pytest.raises(ConfigError, match=r"counts nothing\.\n  Remedy: start it with disable_log_stats=False"):
        new_llm().get_metrics()


def test_metrics_count(new_llm: NewLLM) -> None:
    llm = new_llm(disable_log_stats=False)
    llm.generate([COUNT] * 3, SamplingParams(max_tokens=5, ignore_eos=True), use_tqdm=False)
    metrics = llm.get_metrics()
    values = {metric.name: metric for metric in metrics}
    assert values["vllm:generation_tokens"].value == 15
    ended = {m.labels["finished_reason"]: m.value for m in metrics if m.name == "vllm:request_success"}
    assert {reason: count for reason, count in ended.items() if count} == {"length": 3}
    assert values["vllm:inter_token_latency_seconds"].count == 3 * 4
    assert values["vllm:iteration_tokens_total"].sum == 15 + values["vllm:prompt_tokens"].value
    assert values["vllm:time_to_first_token_seconds"].count == 3
    assert math.isclose(values["vllm:request_generation_tokens"].sum, 15.0)


def test_workers_can_be_reached(llm: LLM) -> None:
    (parameters,) = llm.apply_model(lambda model: sum(p.numel() for p in model.parameters()))
    assert parameters == 3_475_712
    assert llm.collective_rpc(lambda worker, plus: worker.rank + plus, args=(5,)) == [5]


def test_sleep_is_a_capability(llm: LLM) -> None:
    with pytest.raises(ConfigError, match="sleep mode"):
        llm.sleep()


def test_default_sampling_params_come_from_the_model(llm: LLM) -> None:
    params = llm.get_default_sampling_params()
    assert (params.temperature, params.top_p, params.top_k, params.max_tokens) == (1.0, 1.0, 0, 16)


def test_max_model_len_auto_takes_what_the_cache_holds(new_llm: NewLLM) -> None:
    llm = new_llm(max_model_len="auto", num_gpu_blocks_override=10)
    assert llm.llm_engine.config.model_config.max_model_len == 160
    with pytest.raises(InvalidRequestError, match="160 tokens"):
        llm.generate([[5] * 161], GREEDY)


def test_a_cache_too_small_for_the_context_says_what_fits(new_llm: NewLLM) -> None:
    with pytest.raises(ConfigError, match=r"holds only\s+160 tokens") as refused:
        new_llm(max_model_len=512, num_gpu_blocks_override=10)
    assert "--num-gpu-blocks-override" in str(refused.value) and "--max-model-len to 160" in str(refused.value)


@pytest.mark.parametrize("method", ["encode", "embed", "classify", "reward", "score"])
def test_who_asks_for_vectors_is_told(llm: LLM, method: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"LLM\.{method} needs a pooling model"):
        getattr(llm, method)(["a text"])
