"""Owns running a batch of prompts to the end, in order, with a progress bar: all refused or all run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from vllm.errors import InvalidRequestError
from vllm.sampling_params import RequestOutputKind, SamplingParams

if TYPE_CHECKING:
    from vllm.engine.llm_engine import LLMEngine
    from vllm.inputs import PromptType
    from vllm.outputs import RequestOutput

__all__ = ["PromptBatch", "run_to_end"]


class PromptBatch:
    """Prompts with a SamplingParams and a priority each."""

    def __init__(
        self,
        prompts: Sequence[PromptType],
        params: SamplingParams | Sequence[SamplingParams],
        priority: Sequence[int] | None,
    ) -> None:
        self.prompts = prompts
        self.params = self._one_each("sampling_params", params)
        self.priorities = [0] * len(prompts) if priority is None else self._one_each("priority", priority)

    def _one_each(self, name: str, values: Any) -> list[Any]:
        if isinstance(values, SamplingParams):
            return [values] * len(self.prompts)
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence):
            raise _wrong_values(name, values)
        if len(values) != len(self.prompts):
            raise InvalidRequestError(
                f"`{name}` has {len(values)} entries for {len(self.prompts)} prompts.",
                parameter=name,
                remedy="give one for all prompts, or as many as there are prompts",
            )
        return list(values)


def _wrong_values(name: str, values: object) -> InvalidRequestError:
    wanted = (
        "a SamplingParams, or a list of one per prompt" if name == "sampling_params" else "a list of one per prompt"
    )
    return InvalidRequestError(
        f"`{name}` is a {type(values).__name__}; {wanted} is needed.",
        parameter=name,
        remedy="SamplingParams(temperature=0.0, max_tokens=16), for example" if name == "sampling_params" else None,
    )


def run_to_end(
    engine: LLMEngine, batch: PromptBatch, request_ids: Sequence[str], use_tqdm: bool | Callable[..., Any]
) -> list[RequestOutput]:
    """Every prompt's final output, in the prompts' order. On any error, and on Ctrl-C, no request of the batch is left behind."""
    try:
        for request_id, prompt, params, priority in zip(
            request_ids, batch.prompts, batch.params, batch.priorities, strict=True
        ):
            engine.add_request(request_id, prompt, _final_only(params), priority=priority)
        outputs = _step_to_end(engine, set(request_ids), _Progress(len(request_ids), use_tqdm))
    except BaseException:
        engine.abort_request(request_ids)
        raise
    return [outputs[request_id] for request_id in request_ids]


def _final_only(params: SamplingParams) -> SamplingParams:
    if not isinstance(params, SamplingParams) or params.output_kind is RequestOutputKind.FINAL_ONLY:
        return params
    params = params.clone()
    params.output_kind = RequestOutputKind.FINAL_ONLY
    return params


def _step_to_end(engine: LLMEngine, wanted: set[str], progress: _Progress) -> dict[str, RequestOutput]:
    """Outputs of requests that a user added to the engine by hand are not ours; they go on, unseen here."""
    outputs: dict[str, RequestOutput] = {}
    with progress:
        while len(outputs) < len(wanted):
            for output in engine.step():
                if output.finished and output.request_id in wanted:
                    outputs[output.request_id] = output
                    progress.count(output)
        while engine.has_unfinished_requests() and not engine.get_num_unfinished_requests():
            engine.step()  # planned ahead for requests that have just ended: until it is answered, their blocks are taken
    return outputs


class _Progress:
    """A tqdm bar with token rates, or nothing."""

    def __init__(self, total: int, use_tqdm: bool | Callable[..., Any]) -> None:
        make = use_tqdm if callable(use_tqdm) else tqdm
        self._bar = make(total=total, desc="Processed prompts", dynamic_ncols=True) if use_tqdm else None
        self._prompt_tokens = 0
        self._output_tokens = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def count(self, output: RequestOutput) -> None:
        """One more prompt is done."""
        if self._bar is None:
            return
        self._prompt_tokens += len(output.prompt_token_ids or ())
        self._output_tokens += sum(len(each.token_ids) for each in output.outputs)
        elapsed_s = max(self._bar.format_dict["elapsed"], 1e-6)
        rates = f"{self._prompt_tokens / elapsed_s:.2f} toks/s, output: {self._output_tokens / elapsed_s:.2f} toks/s"
        self._bar.set_postfix_str(f"est. speed input: {rates}", refresh=False)
        self._bar.update(1)
