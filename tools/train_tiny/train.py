"""Trains the embedded model: `python train.py --seconds 480 --out FOLDER`. The README says what to expect.

Shapes: B windows of a batch, T tokens of a window, V vocabulary.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from make_data import Drills, prose
from make_tokenizer import BOS_ID, CONTEXT_TOKENS, EOS_ID, PAD_ID, VOCABULARY, make_tokenizer, save_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

DRILLS, HELD_BACK = 9000, 200
MUON_RATE, ADAM_RATE = 0.02, 6e-3
WARM_UP_STEPS, FLAT_SHARE, LAST_RATE_SHARE = 30, 0.4, 0.02
REPORT_EVERY_STEPS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Token streams: `prose` and `drills` are learnt, `held_back` only measures."""

    prose: torch.Tensor
    drills: torch.Tensor
    held_back: torch.Tensor


def make_corpus(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Corpus:
    """BOS stands before every topic and before every other drill, so that both beginnings are known."""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    drills = [ids(drill) for drill in Drills().take(DRILLS)]
    learnt: list[int] = []
    for drill in drills[HELD_BACK:]:
        learnt += ([BOS_ID] if rng.random() < 0.5 else []) + drill
    return Corpus(
        prose=torch.tensor([token for text in prose() for token in (BOS_ID, *ids(text))]),
        drills=torch.tensor(learnt),
        held_back=torch.tensor([token for drill in drills[:HELD_BACK] for token in drill]),
    )


def make_model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT_TOKENS,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
        attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    return LlamaForCausalLM(config)


def make_optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms. Each group keeps its full rate as `full_lr`."""
    named = list(model.named_parameters())
    matrices = [value for name, value in named if value.ndim == 2 and "embed" not in name]
    others = [value for name, value in named if value.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.01)
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for group in (*muon.param_groups, *adam.param_groups):
        group["full_lr"] = group["lr"]
    return [muon, adam]


def rate_share(step: int, spent: float) -> float:
    """The share of the full learning rate after `step` steps and the share `spent` of the time: up, flat, down."""
    fall = 1.0 if spent < FLAT_SHARE else max(LAST_RATE_SHARE, (1 - spent) / (1 - FLAT_SHARE))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * fall


def make_batch(corpus: Corpus, rng: random.Random, step: int) -> torch.Tensor:
    """Windows [B, T+1] from either stream; every sixth batch is long, so that the whole context gets used."""
    windows, tokens = (2, CONTEXT_TOKENS - 1) if step % 6 == 5 else (8, 511)
    rows = []
    for _ in range(windows):
        stream = corpus.prose if rng.random() < 0.5 else corpus.drills
        start = rng.randrange(len(stream) - tokens - 1)
        rows.append(stream[start : start + tokens + 1])
    return torch.stack(rows)


def train_step(model: LlamaForCausalLM, optimizers: Sequence[torch.optim.Optimizer], ids_BT: torch.Tensor) -> float:
    """One step on windows [B, T+1]; the mean loss."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits_BTV.float().reshape(-1, VOCABULARY), ids_BT[:, 1:].reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def train(model: LlamaForCausalLM, corpus: Corpus, rng: random.Random, seconds: float) -> None:
    """Train until the time is spent, and say how it goes."""
    optimizers, losses = make_optimizers(model), []
    model.train()
    start = time.monotonic()
    while (spent := (time.monotonic() - start) / seconds) <= 1:
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = group["full_lr"] * rate_share(len(losses), spent)
        losses.append(train_step(model, optimizers, make_batch(corpus, rng, len(losses))))
        if len(losses) % REPORT_EVERY_STEPS == 0:
            recent = sum(losses[-REPORT_EVERY_STEPS:]) / REPORT_EVERY_STEPS
            print(f"step {len(losses)}: {spent * seconds:.0f} s, loss {recent:.4f}", flush=True)


@torch.no_grad()
def mean_loss(model: LlamaForCausalLM, stream: torch.Tensor, tokens: int = 512) -> float:
    """Mean loss over the stream's whole windows of `tokens`."""
    model.eval()
    losses = []
    for start in range(0, len(stream) - tokens, tokens):
        ids_T = stream[start : start + tokens + 1]
        logits_TV = model(input_ids=ids_T[None, :-1]).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits_TV, ids_T[1:]).item())
    return sum(losses) / len(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=480.0, help="wall-clock time to train for")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    rng = random.Random(1)
    tokenizer = make_tokenizer(prose())
    corpus, model = make_corpus(tokenizer, rng), make_model()
    print(f"{sum(value.numel() for value in model.parameters()):,} parameters, {len(corpus.prose):,} tokens of prose")
    train(model, corpus, rng, arguments.seconds)
    print(
        f"loss on prose {mean_loss(model, corpus.prose):.2f}, on held-back drills {mean_loss(model, corpus.held_back):.2f}"
    )

    model.to(torch.bfloat16).save_pretrained(arguments.out)
    save_tokenizer(tokenizer, arguments.out)


if __name__ == "__main__":
    main()
