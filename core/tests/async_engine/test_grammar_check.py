"""Constraints that are looked at before the engine hears of them: once each, only for who still asks, and not too many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from vllm.config.engine_args import EngineArgs
from vllm.engine import grammar_check
from vllm.engine.grammar_check import GrammarCheck
from vllm.errors import InvalidRequestError, QueueFullError, VllmError
from vllm.executor import helper
from vllm.sampling_params import StructuredOutputsParams

GOOD = StructuredOutputsParams(choice=["yes", "no"])
BAD = StructuredOutputsParams(regex="(")


def slow(number: int) -> StructuredOutputsParams:
    """An automaton of a million states."""
    return StructuredOutputsParams(json={"type": "integer", "multipleOf": 1_000_003 + number})


@pytest.fixture
def check() -> Iterator[GrammarCheck]:
    one = GrammarCheck(EngineArgs().create_engine_config())
    yield one
    one.close()


def test_a_verdict_is_kept_and_needs_no_process_again(check: GrammarCheck) -> None:
    async def story() -> None:
        await asyncio.gather(check.check(GOOD), check.check(GOOD))
        with pytest.raises(InvalidRequestError) as first:
            await check.check(BAD)
        check.close()
        await check.check(GOOD)
        with pytest.raises(InvalidRequestError) as again:
            await check.check(BAD)
        assert str(again.value) == str(first.value)
        with pytest.raises(InvalidRequestError, match="shutting down"):
            await check.check(StructuredOutputsParams(choice=["new"]))

    asyncio.run(story())


def test_verdicts_are_bounded_and_those_asked_for_stay(check: GrammarCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar_check, "MAX_VERDICTS", 2)

    async def story() -> None:
        for word in ("a", "b", "a", "c"):
            await check.check(StructuredOutputsParams(choice=[word]))
        check.close()
        await check.check(StructuredOutputsParams(choice=["a"]))
        with pytest.raises(InvalidRequestError, match="shutting down"):
            await check.check(StructuredOutputsParams(choice=["b"]))

    asyncio.run(story())


def test_who_leaves_takes_no_answer_away_and_the_last_ends_the_question(
    check: GrammarCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_GRAMMAR_COMPILE_TIMEOUT", "0.5")

    async def story() -> None:
        leaves, stays = (asyncio.create_task(check.check(slow(0))) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(InvalidRequestError, match=r"takes longer than 0\.5 s"):
            await stays
        alone = [asyncio.create_task(check.check(slow(number))) for number in range(1, 9)]
        await asyncio.sleep(0)
        for task in alone:
            task.cancel()
        await asyncio.wait(alone)
        assert not check._questions

    asyncio.run(story())


def test_too_many_questions_at_once_are_refused(check: GrammarCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_GRAMMAR_COMPILE_TIMEOUT", "0.5")
    monkeypatch.setattr(grammar_check, "MAX_QUESTIONS", 2)

    async def story() -> None:
        asked = [asyncio.create_task(check.check(slow(number))) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="2 constraints of other requests"):
            await check.check(GOOD)
        for task in asked:
            with pytest.raises(InvalidRequestError):
                await task
        await check.check(GOOD)

    asyncio.run(story())


def test_what_took_too_long_is_looked_at_again_after_a_while(
    check: GrammarCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar_check, "RETRY_AFTER_s", 0.0)
    some_tenths_of_a_second = StructuredOutputsParams(json={"type": "integer", "multipleOf": 5003})

    async def story() -> None:
        monkeypatch.setenv("VLLM_GRAMMAR_COMPILE_TIMEOUT", "0.001")
        with pytest.raises(InvalidRequestError, match=r"takes longer than 0\.001 s"):
            await check.check(some_tenths_of_a_second)
        while check._verdicts:
            await asyncio.sleep(0)
        monkeypatch.setenv("VLLM_GRAMMAR_COMPILE_TIMEOUT", "60")
        await check.check(some_tenths_of_a_second)

    asyncio.run(story())


def test_what_says_nothing_about_the_constraint_is_no_verdict(
    check: GrammarCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_process(*_: object) -> None:
        raise BlockingIOError("too many processes")

    async def story() -> None:
        with monkeypatch.context() as full:
            full.setattr(helper, "ChildProcess", no_process)
            with pytest.raises(VllmError, match="GrammarCheck could not be started: too many processes"):
                await check.check(GOOD)
        await check.check(GOOD)

    asyncio.run(story())
