"""Grammars: whatever allowed tokens are drawn, the text obeys; masks, EOS, rollback; refusals with llguidance's words."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.tests.settable_platform import SettablePlatform
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.engine.input_processor import InputProcessor
from vllm.errors import ConfigError, InvalidRequestError
from vllm.platforms.capabilities import Capability, Feature
from vllm.sampling.structured_output import (
    Bitmask,
    GrammarFactory,
    GrammarState,
    allocate_bitmask,
    check_structured_outputs,
    words_per_row,
)
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.text.tokenizer import Tokenizer

EOS, OTHER_EOS, PADDED_VOCAB = 3, 0, 2050
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
ARITHMETIC = """root ::= sum
sum ::= number ("+" number)?
number ::= [0-9] [0-9]?"""
LARK = 'start: "x" NUMBER\nNUMBER: /[0-9]{2}/'


@pytest.fixture(scope="module")
def factory() -> GrammarFactory:
    from core.tests.front.conftest import TINY
    from vllm.text.tokenizer import load_tokenizer

    return GrammarFactory(lambda: load_tokenizer(TINY), vocab_size=PADDED_VOCAB, eos_token_ids=[EOS, OTHER_EOS])


def allowed_ids(state: GrammarState) -> list[int]:
    row = np.full(words_per_row(PADDED_VOCAB), -1, dtype=np.int32)
    state.fill_bitmask(row)
    return bits(row)


def bits(row: Bitmask) -> list[int]:
    """The naive reading of a row: bit i % 32 of word i // 32."""
    return [i for i in range(len(row) * 32) if (int(row[i // 32]) >> (i % 32)) & 1]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def walk(factory: GrammarFactory, state: GrammarState, rng: random.Random) -> list[int]:
    """Draw allowed tokens until EOS. EOS is taken where allowed after 60 tokens, so that walks end."""
    tokens: list[int] = []
    while not state.is_ended:
        choices = allowed_ids(state)
        assert choices and (EOS in choices) == state.is_complete
        token = EOS if EOS in choices and len(tokens) > 60 else rng.choice(choices)
        assert state.accept(token)
        tokens.append(token)
        assert len(tokens) < 600, "the grammar does not end"
    return tokens[:-1]


def is_person(text: str) -> bool:
    value = json.loads(text)
    assert set(value) <= {"name", "age", "tags"} and isinstance(value["name"], str) and len(value["name"]) <= 8
    return 0 <= value["age"] <= 150 and set(value.get("tags", [])) <= {"a", "b"} and len(value.get("tags", [])) <= 2


def is_sum(text: str) -> bool:
    return re.fullmatch(r"\d\d?(\+\d\d?)?", text) is not None


@pytest.mark.parametrize(
    "params,obeys",
    [
        ({"json": PERSON, "whitespace_pattern": " ?"}, is_person),
        ({"json": json.dumps(PERSON), "disable_any_whitespace": True}, is_person),
        ({"regex": r"(cat|dog){1,3}-\d{2,4}(é|ü)?"}, lambda t: re.fullmatch(r"(cat|dog){1,3}-[0-9]{2,4}[éü]?", t)),
        ({"regex": r"a/b\s\w"}, lambda t: re.fullmatch(r"a/b\s\w", t, re.ASCII)),
        ({"choice": ["yes", "no", 'may"be\n', "👩"]}, lambda t: t in ("yes", "no", 'may"be\n', "👩")),
        ({"grammar": ARITHMETIC}, is_sum),
        ({"grammar": LARK}, lambda t: re.fullmatch(r"x\d\d", t)),
    ],
)
def test_any_walk_through_the_mask_obeys(
    factory: GrammarFactory, tiny: Tokenizer, params: dict[str, Any], obeys: Callable[[str], Any]
) -> None:
    for seed in range(12):
        state = factory.new_state(StructuredOutputsParams(**params))
        tokens = walk(factory, state, random.Random(seed))
        text = tiny.decode(tokens)
        assert obeys(text), (seed, text)


def test_json_object_gives_an_object(factory: GrammarFactory, tiny: Tokenizer) -> None:
    state = factory.new_state(StructuredOutputsParams(json_object=True))
    for token in ids(tiny, '{"a": [1, {"b": null}], "c": "x"'):
        assert token in allowed_ids(state) and state.accept(token)
    assert not state.is_complete and state.accept(ids(tiny, "}")[0]) and state.is_complete
    assert not factory.new_state(StructuredOutputsParams(json_object=True)).accept(ids(tiny, "[")[0])


def test_eos_is_allowed_exactly_where_the_text_is_complete(factory: GrammarFactory, tiny: Tokenizer) -> None:
    state = factory.new_state(StructuredOutputsParams(regex="a(b|c)?"))
    assert EOS not in allowed_ids(state) and not state.accept(EOS)
    assert state.accept(ids(tiny, "a")[0])
    assert set(allowed_ids(state)) == {EOS, OTHER_EOS, ids(tiny, "b")[0], ids(tiny, "c")[0]}
    assert state.is_complete and not state.is_terminated
    assert state.accept(ids(tiny, "b")[0]) and state.is_terminated and not state.is_ended
    assert allowed_ids(state) == [OTHER_EOS, EOS]
    assert state.accept(EOS) and state.is_ended
    assert allowed_ids(state) == [OTHER_EOS, EOS] and state.accept(EOS)
    assert not state.accept(ids(tiny, "b")[0]) and state.error is None


def test_a_refused_token_changes_nothing(factory: GrammarFactory, tiny: Tokenizer) -> None:
    state = factory.new_state(StructuredOutputsParams(regex="ab"))
    before = allowed_ids(state)
    assert not state.accept(ids(tiny, "x")[0])
    assert allowed_ids(state) == before and state.error is None and state.accept(ids(tiny, "a")[0])


def test_padding_of_the_vocabulary_is_never_allowed(factory: GrammarFactory) -> None:
    state = factory.new_state(StructuredOutputsParams(regex=r"[\s\S]*"))
    allowed = allowed_ids(state)
    assert len(allowed) > 1000 and max(allowed) < 2048


@pytest.mark.parametrize("taken", [1, 2, 3, 4])
def test_rollback_goes_back_over_eos_too(factory: GrammarFactory, tiny: Tokenizer, taken: int) -> None:
    state = factory.new_state(StructuredOutputsParams(regex="abc?"))
    path = [*(ids(tiny, letter)[0] for letter in "abc"), EOS]
    masks = []
    for token in path:
        masks.append(allowed_ids(state))
        assert state.accept(token)
    state.rollback(taken)
    assert allowed_ids(state) == masks[-taken]
    for token in path[-taken:]:
        assert state.accept(token)
    assert state.is_ended


def test_speculated_tokens_are_counted_without_being_taken(factory: GrammarFactory, tiny: Tokenizer) -> None:
    a, b, c = (ids(tiny, letter)[0] for letter in "abc")
    state = factory.new_state(StructuredOutputsParams(regex="abc"))
    before = allowed_ids(state)
    assert [state.count_acceptable(draft) for draft in ([], [b], [a, b, b], [a, b, c, EOS], [a, EOS])] == [
        0,
        0,
        2,
        4,
        1,
    ]
    assert allowed_ids(state) == before


def test_forced_tokens_spell_what_must_come(factory: GrammarFactory, tiny: Tokenizer) -> None:
    state = factory.new_state(StructuredOutputsParams(choice=["hello world"]))
    forced = state.forced_tokens()
    assert forced and "hello world".startswith(tiny.decode(forced))


def test_a_batch_is_filled_as_each_row_alone(factory: GrammarFactory, tiny: Tokenizer) -> None:
    patterns = ["a+", "[0-9]{3}", "(x|y)z", "é", "q?"]
    states = [factory.new_state(StructuredOutputsParams(regex=pattern)) for pattern in patterns]
    assert states[4].accept(EOS)
    rows = [6, 1, 4, 0, 3]
    mask_NW = allocate_bitmask(7, PADDED_VOCAB)
    factory.fill_bitmasks(states, rows, mask_NW)
    for state, row in zip(states, rows, strict=True):
        assert bits(mask_NW[row]) == allowed_ids(state)
    assert (mask_NW[[2, 5]] == -1).all(), "rows of other requests were touched"
    factory.fill_bitmasks([], [], mask_NW)


def test_states_of_one_grammar_do_not_share_progress(factory: GrammarFactory, tiny: Tokenizer) -> None:
    params = StructuredOutputsParams(regex="ab")
    first = factory.new_state(params)
    assert first.accept(ids(tiny, "a")[0])
    second, twin = factory.new_state(params), first.copy()
    assert twin.accept(ids(tiny, "b")[0]) and not first.is_complete
    assert not second.accept(ids(tiny, "b")[0])


def test_additional_properties_can_be_closed(factory: GrammarFactory, tiny: Tokenizer) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "null"}}}}}
    extra = ids(tiny, '{"a": {"z": 1}}')
    open_state = factory.new_state(StructuredOutputsParams(json=schema))
    closed = factory.new_state(StructuredOutputsParams(json=schema, disable_additional_properties=True))
    assert open_state.count_acceptable(extra) == len(extra)
    assert closed.count_acceptable(extra) < len(extra)


@pytest.mark.parametrize(
    "params,words",
    [
        ({"json": '{"type": '}, "no JSON"),
        ({"json": {"type": "poem"}}, "Invalid type: poem"),
        ({"json": {"$ref": "#/nowhere"}}, "nowhere"),
        ({"json": {"type": "array", "uniqueItems": True}}, "uniqueItems"),
        ({"json": False}, "Unsatisfiable"),
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"grammar": "root ::= foo"}, "foo"),
        ({"grammar": "start: foo"}, "foo"),
        ({"grammar": "hello"}, "::="),
    ],
)
def test_a_constraint_that_cannot_be_compiled(factory: GrammarFactory, params: dict[str, Any], words: str) -> None:
    kind = next(iter(params))
    for check in (check_structured_outputs, factory.new_state):
        with pytest.raises(
            InvalidRequestError, match=rf"structured_outputs\.{kind}[\s\S]*{re.escape(words)}"
        ) as caught:
            check(StructuredOutputsParams(**params))
        assert caught.value.parameter == f"structured_outputs.{kind}"


def test_constraints_that_are_fine_pass_without_a_tokenizer() -> None:
    for params in ({"json": PERSON}, {"json": True}, {"regex": "a"}, {"choice": ["a"]}, {"grammar": ARITHMETIC}):
        check_structured_outputs(StructuredOutputsParams(**params))


def test_a_tokenizer_larger_than_the_model_is_refused(tiny: Tokenizer) -> None:
    small = GrammarFactory(lambda: tiny, vocab_size=2000, eos_token_ids=[EOS])
    with pytest.raises(ConfigError, match="2048 tokens, but the model only 2000"):
        small.new_state(StructuredOutputsParams(regex="a"))


def test_a_model_without_eos_is_refused(tiny: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match="need an EOS token"):
        GrammarFactory(lambda: tiny, vocab_size=2048, eos_token_ids=[]).new_state(StructuredOutputsParams(regex="a"))


class NoGrammars(SettablePlatform):
    """A platform that cannot mask its logits."""

    def __init__(self) -> None:
        super().__init__(capabilities={Feature.STRUCTURED_OUTPUT: Capability.unsupported("logits stay on the chip")})


def test_a_platform_without_grammars_refuses_the_request_and_no_other(factory: GrammarFactory, tiny: Tokenizer) -> None:
    config = create_engine_config(EngineArgs(), NoGrammars())
    inputs = InputProcessor(config, tiny, factory)
    wanted = SamplingParams(structured_outputs=StructuredOutputsParams(regex="a"))
    with pytest.raises(
        InvalidRequestError, match=r"platform settable .* unsupported \(logits stay on the chip\)"
    ) as caught:
        inputs.process("1", "x", wanted)
    assert caught.value.parameter == "structured_outputs"
    assert inputs.process("2", "x", SamplingParams()).children
