"""The mutants of which one op is wrong, the sampler included. Each names the op and the laws that must fail."""

from __future__ import annotations

from core.tests.mutants.mutant import Mutant

# -- rotary_embedding


class OnePositionLate(Mutant):
    """Every token is turned by the angles of the position before it."""

    caught_by = ("ops.rotary_embedding",)
    op = ("rotary_embedding", "op_parts.OnePositionLate")


class OtherPairs(Mutant):
    """NeoX and interleaved pairs are mixed up."""

    caught_by = ("ops.rotary_embedding",)
    op = ("rotary_embedding", "op_parts.OtherPairs")


class LosesTheRest(Mutant):
    """Dimensions that do not turn come out as zeros."""

    caught_by = ("ops.rotary_embedding",)
    op = ("rotary_embedding", "op_parts.LosesTheRest")


# -- rms_norm


class FixedEps(Mutant):
    """The norm's eps is always 1e-6."""

    caught_by = ("ops.rms_norm",)
    op = ("rms_norm", "op_parts.FixedEps")


class KeepsOldResidual(Mutant):
    """The residual that comes out is the one that went in."""

    caught_by = ("ops.rms_norm_with_residual",)
    op = ("rms_norm", "op_parts.KeepsOldResidual")


class AddsInPlace(Mutant):
    """The sum is written over the residual argument, and given back as an alias of it."""

    caught_by = ("ops.rms_norm_with_residual",)
    op = ("rms_norm", "op_parts.AddsInPlace")


# -- gemma_rms_norm


class NormsWithoutResidual(Mutant):
    """What is normalised is x alone, without the residual."""

    caught_by = ("ops.gemma_rms_norm_with_residual",)
    op = ("gemma_rms_norm", "op_parts.NormsWithoutResidual")


class PlainWeight(Mutant):
    """The weight is not counted from one."""

    caught_by = ("ops.gemma_rms_norm", "ops.gemma_rms_norm_with_residual")
    op = ("gemma_rms_norm", "op_parts.PlainWeight")


# -- silu_and_mul


class OtherHalf(Mutant):
    """silu is taken of the second half."""

    caught_by = ("ops.silu_and_mul",)
    op = ("silu_and_mul", "op_parts.OtherHalf")


class OverwritesItsInput(Mutant):
    """The result is a view of the argument, which it overwrites."""

    caught_by = ("ops.silu_and_mul",)
    op = ("silu_and_mul", "op_parts.OverwritesItsInput")


class OwnOracle(Mutant):
    """forward_native, the oracle itself, is replaced."""

    caught_by = ("contract.ops_are_replaced_by_subclasses",)
    op = ("silu_and_mul", "op_parts.OwnOracle")


# -- gelu_and_mul


class GeluByTanh(Mutant):
    """The exact gelu is approximated by tanh."""

    caught_by = ("ops.gelu_and_mul",)
    op = ("gelu_and_mul", "op_parts.GeluByTanh")


# -- gelu_tanh_and_mul


class GeluExact(Mutant):
    """The tanh approximation is replaced by the exact gelu."""

    caught_by = ("ops.gelu_tanh_and_mul",)
    op = ("gelu_tanh_and_mul", "op_parts.GeluExact")


# -- linear


class NoBias(Mutant):
    """The bias is forgotten."""

    caught_by = ("ops.linear",)
    op = ("linear", "op_parts.NoBias")


class SixteenBitSums(Mutant):
    """Products and sums are rounded to 16 bits."""

    caught_by = ("ops.linear",)
    op = ("linear", "op_parts.SixteenBitSums")


# -- w8a8_int8_linear, w8a16_int8_linear


class OneStepForAll(Mutant):
    """Activations are quantised with one step for the whole batch."""

    caught_by = ("ops.w8a8_int8_linear", "generation.quantised_within_stated_error")
    op = ("w8a8_int8_linear", "quantised_parts.OneStepForAll")


class RoundsDown(Mutant):
    """Activations are cut down to whole numbers, not rounded."""

    caught_by = ("ops.w8a8_int8_linear",)
    op = ("w8a8_int8_linear", "quantised_parts.RoundsDown")


class FirstPartsScales(Mutant):
    """The second half of the outputs, another matrix of a fused layer, gets the scales of the first."""

    caught_by = ("ops.w8a8_int8_linear", "generation.quantised_within_stated_error")
    op = ("w8a8_int8_linear", "quantised_parts.FirstPartsScales")


class ForgetsTheBias(Mutant):
    """The bias is forgotten where weights are quantised."""

    caught_by = ("ops.w8a8_int8_linear",)
    op = ("w8a8_int8_linear", "quantised_parts.ForgetsTheBias")


class DividesZerosByZero(Mutant):
    """A token of zeros has a step of zero."""

    caught_by = ("ops.w8a8_int8_linear",)
    op = ("w8a8_int8_linear", "quantised_parts.DividesZerosByZero")


class OneScaleForAll(Mutant):
    """Weights of 8 bits have one scale per matrix."""

    caught_by = ("ops.w8a16_int8_linear",)
    op = ("w8a16_int8_linear", "quantised_parts.OneScaleForAll")


# -- fused_moe


class ForgetsToRenormalise(Mutant):
    """Shares of the chosen experts never sum to one."""

    caught_by = ("ops.fused_moe", "generation.experts_equal_dense")
    op = ("fused_moe", "moe_parts.ForgetsToRenormalise")


class AlwaysRenormalises(Mutant):
    """Shares of the chosen experts always sum to one."""

    caught_by = ("ops.fused_moe",)
    op = ("fused_moe", "moe_parts.AlwaysRenormalises")


class SwapsExperts(Mutant):
    """The last two experts' second matrices are swapped."""

    caught_by = ("ops.fused_moe", "generation.experts_equal_dense")
    op = ("fused_moe", "moe_parts.SwapsExperts")


class UpBeforeGate(Mutant):
    """The stacked rows are read as up before gate."""

    caught_by = ("ops.fused_moe",)
    op = ("fused_moe", "moe_parts.UpBeforeGate")


class DropsTheOverflow(Mutant):
    """An expert takes 16 tokens and drops the rest."""

    caught_by = ("ops.fused_moe",)
    op = ("fused_moe", "moe_parts.DropsTheOverflow")


class WeighsTheInput(Mutant):
    """An expert's input is weighed in the place of its output."""

    caught_by = ("ops.fused_moe",)
    op = ("fused_moe", "moe_parts.WeighsTheInput")


# -- vocab_embedding


class NextRow(Mutant):
    """Every id gets the row of the id before it."""

    caught_by = ("ops.vocab_embedding",)
    op = ("vocab_embedding", "op_parts.NextRow")


class NearestRow(Mutant):
    """Ids of other ranks get the shard's nearest row instead of zeros."""

    caught_by = ("ops.vocab_embedding",)
    op = ("vocab_embedding", "op_parts.NearestRow")


# -- sampler


class IgnoresSeed(Mutant):
    """Every request draws with seed 0."""

    caught_by = ("sampler.draws", "sampler.seeds_matter")
    op = ("sampler", "sampler_parts.IgnoresSeed")


class IgnoresPosition(Mutant):
    """Every position of a request draws the same number."""

    caught_by = ("sampler.draws", "sampler.seeds_matter")
    op = ("sampler", "sampler_parts.IgnoresPosition")


class IgnoresTemperature(Mutant):
    """Every random request has temperature 1."""

    caught_by = ("sampler.draws",)
    op = ("sampler", "sampler_parts.IgnoresTemperature")


class IgnoresTopK(Mutant):
    """top_k is ignored."""

    caught_by = ("sampler.truncation",)
    op = ("sampler", "sampler_parts.IgnoresTopK")


class IgnoresMinP(Mutant):
    """min_p is ignored."""

    caught_by = ("sampler.truncation",)
    op = ("sampler", "sampler_parts.IgnoresMinP")


class IgnoresPenalties(Mutant):
    """Penalties are ignored."""

    caught_by = ("sampler.penalties",)
    op = ("sampler", "sampler_parts.IgnoresPenalties")


class IgnoresRules(Mutant):
    """Allowed tokens, biases, bad words, minimum lengths and custom processors are ignored."""

    caught_by = ("sampler.rules", "generation.custom_processors_are_applied")
    op = ("sampler", "sampler_parts.IgnoresRules")


class IgnoresGrammar(Mutant):
    """Grammar masks are ignored."""

    caught_by = ("sampler.grammar_masks", "generation.structured_output_is_kept")
    op = ("sampler", "sampler_parts.IgnoresGrammar")


class MisplacesGrammar(Mutant):
    """Grammar masks reach the rows in the wrong order."""

    caught_by = ("sampler.grammar_masks",)
    op = ("sampler", "sampler_parts.MisplacesGrammar")


class LastOfEqual(Mutant):
    """Of equally likely tokens the last is taken."""

    caught_by = ("sampler.greedy",)
    op = ("sampler", "sampler_parts.LastOfEqual")


class UnnormalisedScores(Mutant):
    """Log-probabilities are logits."""

    caught_by = ("sampler.logprobs",)
    op = ("sampler", "sampler_parts.UnnormalisedScores")
