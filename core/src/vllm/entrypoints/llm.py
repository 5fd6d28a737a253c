"""Owns `LLM`: the offline face of the engine. Prompts in, outputs in the same order out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.absent_arguments import CALLS, refuse_absent_arguments
from vllm.config.engine_args import EngineArgs
from vllm.engine.llm_engine import LLMEngine
from vllm.entrypoints.offline import PromptBatch, run_to_end
from vllm.entrypoints.pooling_absent import NoPooling
from vllm.inputs import TokensPrompt, as_prompt_list
from vllm.sampling_params import BeamSearchParams, SamplingParams
from vllm.text.chat import as_conversations, prepare_chat

if TYPE_CHECKING:
    from vllm.inputs import PromptType
    from vllm.outputs import BeamSearchOutput, RequestOutput
    from vllm.text.tokenizer import Tokenizer

__all__ = ["LLM"]

T = TypeVar("T")
ParamsArg = SamplingParams | Sequence[SamplingParams] | None


class LLM(NoPooling):
    """An engine in this process, for offline use. `LLM()` runs the tiny model that comes with the package.

    Every keyword is an option of `EngineArgs`, the same as the command line's flags. Not for several threads.
    """

    def __init__(self, model: str | None = None, **engine_args: Any) -> None:
        """Start the engine; blocks until it can take prompts.

        Raises:
            ConfigError: an option is unknown or impossible (names near ones); NoPlatformError: no hardware plugin is usable;
            ModelLoadError: the checkpoint cannot be read.
        """
        engine_args.setdefault("disable_log_stats", True)
        self.llm_engine = LLMEngine.from_engine_args(
            EngineArgs.from_kwargs({"model": model, **engine_args}, where="LLM")
        )
        self._request_numbers = itertools.count()

    # -- generation -----------------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompts: PromptType | Sequence[PromptType] | None = None,
        sampling_params: ParamsArg = None,
        use_tqdm: bool | Callable[..., Any] = True,
        *,
        priority: Sequence[int] | None = None,
        **absent: Any,
    ) -> list[RequestOutput]:
        """Generate for every prompt; outputs stand in the prompts' order.

        Args:
            prompts: one prompt or a list: text, token ids, or dicts with `prompt` or `prompt_token_ids` (and `cache_salt`).
            sampling_params: for all prompts, or one per prompt; None takes `get_default_sampling_params()`.
            use_tqdm: show a progress bar; or a callable that makes one, with tqdm's arguments.
            priority: one per prompt, lower first, with `scheduling_policy="priority"`.
            absent: what vLLM takes here and this release does not (`lora_request`, …), as long as it asks for nothing.

        Raises:
            InvalidRequestError: a prompt or its parameters are unusable. No prompt of the call has run then.
        """
        refuse_absent_arguments("LLM.generate", absent, CALLS)
        params = self.get_default_sampling_params() if sampling_params is None else sampling_params
        batch = PromptBatch(as_prompt_list(prompts), params, priority)
        return run_to_end(self.llm_engine, batch, self._new_ids(len(batch.prompts)), use_tqdm)

    def chat(
        self,
        messages: Sequence[Any],
        sampling_params: ParamsArg = None,
        use_tqdm: bool | Callable[..., Any] = True,
        *,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **absent: Any,
    ) -> list[RequestOutput]:
        """Generate the next message of one conversation or of each of a list, through the model's chat template.

        Args:
            messages: dicts with `role` and `content`; or a list of such lists.
            chat_template: Jinja source; None takes the engine's or the model's own.
            chat_template_kwargs: further variables of the template.
            absent: see `generate`.
        """
        refuse_absent_arguments("LLM.chat", absent, CALLS)
        tokenizer = self.get_tokenizer()
        texts = [
            prepare_chat(
                tokenizer,
                conversation,
                chat_template=chat_template or self.llm_engine.config.model_config.chat_template,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                template_kwargs=chat_template_kwargs,
            ).render()
            for conversation in as_conversations(messages)
        ]
        prompts = [
            TokensPrompt(prompt=text, prompt_token_ids=tokenizer.encode(text, add_special_tokens=False))
            for text in texts
        ]
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm)

    def beam_search(
        self, prompts: Sequence[PromptType], params: BeamSearchParams, *, use_tqdm: bool = False, **absent: Any
    ) -> list[BeamSearchOutput]:
        """The `beam_width` most likely continuations of each prompt, best first; their tokens begin with the prompt's."""
        from vllm.entrypoints.beam_search import beam_search

        refuse_absent_arguments("LLM.beam_search", absent, CALLS)
        generate = functools.partial(self.generate, use_tqdm=use_tqdm)
        return beam_search(self.llm_engine, generate, as_prompt_list(prompts), params)

    # -- the engine -----------------------------------------------------------------------------------------------------------

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer. Raises InvalidRequestError with `skip_tokenizer_init`."""
        return self.llm_engine.get_tokenizer()

    def get_default_sampling_params(self) -> SamplingParams:
        """vLLM's defaults, with what the model's generation_config.json says on top."""
        given = self.llm_engine.config.model_config.generation_config
        known = {
            name: given[name]
            for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
            if name in given
        }
        if given.get("max_new_tokens") is not None:
            known["max_tokens"] = given["max_new_tokens"]
        return SamplingParams.from_optional(**known)

    def get_metrics(self) -> list[Any]:
        """A snapshot of the `vllm:` metrics; start the engine with `disable_log_stats=False` for them."""
        return self.llm_engine.get_metrics()

    def reset_prefix_cache(self) -> bool:
        """Forget cached prompt blocks; False while requests run."""
        return self.llm_engine.reset_prefix_cache()

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Call a method of every worker (by name, e.g. of `worker_extension_cls`, or a function of the worker)."""
        return self.llm_engine.collective_rpc(method, timeout, args, kwargs)

    def apply_model(self, func: Callable[[Any], T]) -> list[T]:
        """`func(model)` on every worker, in rank order."""
        return self.llm_engine.apply_model(func)

    def sleep(self, level: int = 1) -> None:
        """Free the device's memory: level 1 keeps the weights on the host, 2 discards them and reads them again at `wake_up`.

        Needs `enable_sleep_mode=True` and a platform that can. Prompts are refused meanwhile.
        """
        self.llm_engine.sleep(level)

    def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """Undo `sleep`, for all or for "weights" and "kv_cache"."""
        self.llm_engine.wake_up(tags)

    def shutdown(self) -> None:
        """Stop the engine; happens by itself when the object is collected or the program ends."""
        self.llm_engine.shutdown()

    def _new_ids(self, count: int) -> list[str]:
        """The next numbers that no request is called which the user added to the engine by hand."""
        ids = map(str, self._request_numbers)
        return list(itertools.islice((each for each in ids if not self.llm_engine.has_request(each)), count))
