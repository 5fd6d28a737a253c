// The checks themselves, one function per operator, each beside its source.
//
// "910b" sections of the documentation (Atlas A2) are followed, which the page of A3 repeats; where pages contradict each other, the
// more permissive reading is taken and said. Operators that a chip does not have raise too.
#include "limits.h"

#include <ATen/ATen.h>

#include <initializer_list>
#include <sstream>

#include "../common/simulator.h"

namespace cann_sim::limits {
namespace {

// Pages of the CANN operator library (hiascend.com, "CANN 8.5.0, aclnn API"; the same texts are in gitcode.com/cann/ops-transformer
// and cann/ops-nn under <operator>/docs), docstrings of torch_npu 2.13.0 (torch_npu/_op_plugin_docs.py), and reports of users.
constexpr char kAttentionPage[] = "aclnnFusedInferAttentionScoreV3.md, constraints, Atlas A2, TND, query D other than 512";
constexpr char kAttentionPaged[] = "aclnnFusedInferAttentionScoreV3.md, constraints, page attention";
constexpr char kAttentionDoc[] = "torch_npu.npu_fused_infer_attention_score, parameters and constraints";
constexpr char kAttentionIssue[] = "vllm-ascend pull request 6596: error 561002 where T differs from actual_seq_lengths[-1]";
constexpr char kScatterPage[] = "aclnnScatterPaKvCache.md, parameters and constraints, Atlas A2";
constexpr char kRmsNormDoc[] = "torch_npu.npu_rms_norm, parameters and constraints";
constexpr char kSwigluDoc[] = "torch_npu.npu_swiglu, parameters";
constexpr char kRotaryMulDoc[] = "torch_npu.npu_rotary_mul, constraints";
constexpr char kApplyRotaryDoc[] = "torch_npu.npu_apply_rotary_pos_emb, Atlas A2";
constexpr char kTopKTopPDoc[] = "torch_npu.npu_top_k_top_p, parameters";
constexpr char kDynamicQuantDoc[] = "torch_npu.npu_dynamic_quant, parameters and constraints";
constexpr char kQuantMatmulDoc[] = "torch_npu.npu_quant_matmul, parameters, constraints and table 1 of Atlas A2";
constexpr char kGroupedMatmulDoc[] = "torch_npu.npu_grouped_matmul, parameters and constraints";
constexpr char kGatingDoc[] = "torch_npu.npu_moe_gating_top_k_softmax, parameters";
constexpr char kInitRoutingDoc[] = "torch_npu.npu_moe_init_routing_v2, parameters";
constexpr char kFinalizeRoutingDoc[] = "torch_npu.npu_moe_finalize_routing, parameters";
constexpr char kGuess[] = "a guess: no page says it";

template <class... Parts>
void require(bool holds, const char* source, const Parts&... parts) {
    if (holds) return;
    std::ostringstream message;
    (message << ... << parts);
    message << " [limit of the real operator; source: " << source << "]";
    throw LimitError(message.str());
}

bool one_of(at::ScalarType type, std::initializer_list<at::ScalarType> allowed) {
    return std::find(allowed.begin(), allowed.end(), type) != allowed.end();
}

void require_dtype(const char* what, const Tensor& x, std::initializer_list<at::ScalarType> allowed, const char* source) {
    require(one_of(x.scalar_type(), allowed), source, what, " has the dtype ", x.scalar_type(), "; allowed: ", at::ArrayRef(allowed));
}

void require_same_dtype(const char* what, const Tensor& x, const Tensor& like, const char* source) {
    require(x.scalar_type() == like.scalar_type(), source, what, " has the dtype ", x.scalar_type(), ", not ", like.scalar_type());
}

void require_contiguous(const char* what, const Tensor& x, const char* source) {
    require(x.is_contiguous(), source, what, " is not contiguous: shape ", x.sizes(), ", strides ", x.strides());
}

void require_dims(const char* what, const Tensor& x, int64_t low, int64_t high, const char* source) {
    require(low <= x.dim() && x.dim() <= high, source, what, " has ", x.dim(), " dimensions; allowed: ", low, " to ", high);
}

constexpr std::initializer_list<at::ScalarType> kFloats{at::kHalf, at::kBFloat16, at::kFloat};

}  // namespace

Chip chip() {
    const std::string& name = settings().soc_name;
    if (name.find("310P") != std::string::npos) return Chip::inference_310p;
    return name.find("910B") != std::string::npos || name.find("910_93") != std::string::npos ? Chip::a2_a3 : Chip::other;
}

// ---- attention -------------------------------------------------------------------------------------------------------
namespace {

int64_t head_size(const Attention& call) { return call.layout == "BSH" ? call.query.size(-1) / call.num_heads : call.query.size(-1); }

void check_attention_heads(const Attention& call) {
    const int64_t heads = call.num_heads, kv_heads = call.num_kv_heads, size = head_size(call);
    require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && heads / kv_heads <= 64, kAttentionDoc, "num_heads ", heads,
            " must be a multiple of num_key_value_heads ", kv_heads, ", at most 64 times as much");
    require(heads <= 256, kAttentionPage, "num_heads ", heads, " is over 256");
    const int64_t largest = call.layout == "TND" ? 256 : 512;
    require(size % 16 == 0 && size <= largest, kAttentionPage, "head size ", size, " must be a multiple of 16 and at most ", largest);
    if (call.layout == "TND") require(call.query.size(1) == heads, kAttentionDoc, "query is ", call.query.sizes(), ", but num_heads is ", heads);
}

void check_attention_types(const Attention& call) {
    require_dtype("query", call.query, {at::kHalf, at::kBFloat16}, kAttentionPage);
    require_same_dtype("key", call.key, call.query, kAttentionPage);
    require_same_dtype("value", call.value, call.query, kAttentionPage);
    require(call.key.sizes() == call.value.sizes(), kAttentionDoc, "key ", call.key.sizes(), " and value ", call.value.sizes(), " differ in shape");
    require_contiguous("query", call.query, kAttentionDoc);
    require_contiguous("key", call.key, kAttentionDoc);
    require_contiguous("value", call.value, kAttentionDoc);
}

bool is_compressed_mask(const Tensor& mask) {
    return mask.dim() >= 2 && mask.size(-1) == 2048 && mask.size(-2) == 2048 && mask.numel() == 2048 * 2048;
}

void check_attention_mask(const Attention& call) {
    const int64_t mode = call.sparse_mode;
    require(0 <= mode && mode <= 4, kAttentionDoc, "sparse_mode ", mode, " is none of 0 to 4");
    if (call.mask) require_dtype("atten_mask", *call.mask, {at::kBool, at::kChar, at::kByte}, kAttentionDoc);
    if (call.mask) require_contiguous("atten_mask", *call.mask, kAttentionDoc);
    if (mode == 1) require(call.mask.has_value(), kAttentionDoc, "sparse_mode 1 needs an atten_mask");
    if (mode >= 2) {
        require(call.mask.has_value() && is_compressed_mask(*call.mask), kAttentionDoc, "sparse_mode ", mode,
                " needs an atten_mask of [2048, 2048], got ", call.mask ? call.mask->sizes() : at::IntArrayRef());
    }
    if (call.layout == "TND") {
        require(call.mask ? mode == 3 || mode == 4 : mode == 0, kAttentionPage,
                "layout TND takes sparse_mode 0 without atten_mask, or 3 or 4 with it; got ", mode, call.mask ? " with" : " without", " mask");
    }
}

void check_rising(const char* what, const Ints& lengths) {
    for (size_t i = 0; i < lengths.size(); i++) {
        require(lengths[i] >= (i ? lengths[i - 1] : 0), kAttentionDoc, what, " must be cumulative in the layout TND; got ", lengths);
    }
}

void check_lengths_TND(const Attention& call) {
    require(call.query_lengths && call.kv_lengths, kAttentionPage, "layout TND needs actual_seq_lengths and actual_seq_lengths_kv");
    const Ints &queries = *call.query_lengths, &keys = *call.kv_lengths;
    require(queries.size() <= 4096 && keys.size() <= 4096, kAttentionPage, "more than 4096 lengths: ", queries.size(), " and ", keys.size());
    require(!queries.empty() && keys.size() == queries.size(), kAttentionPage, "actual_seq_lengths has ", queries.size(),
            " requests, actual_seq_lengths_kv ", keys.size());
    check_rising("actual_seq_lengths", queries);
    require(queries.back() == call.query.size(0), kAttentionIssue, "actual_seq_lengths ends at ", queries.back(), ", query has ",
            call.query.size(0), " tokens: they must be equal, padding included");
    if (!call.block_table) check_rising("actual_seq_lengths_kv", keys);
    // The page of V3 asks for queries < keys in mode 3 within a list that mixes two layouts; equal lengths are an ordinary prefill.
    for (size_t b = 0; call.block_table && call.sparse_mode == 3 && b < keys.size(); b++) {
        const int64_t count = queries[b] - (b ? queries[b - 1] : 0);
        require(count == 0 || count <= keys[b], kGuess, "request ", b, " has ", count, " query tokens, but only ", keys[b], " keys");
    }
}

void check_band(const Attention& call) {
    if (call.sparse_mode != 4) return;
    require(call.pre_tokens + call.next_tokens >= 0, kAttentionPage, "the band of sparse_mode 4 is empty: pre_tokens ", call.pre_tokens,
            ", next_tokens ", call.next_tokens);
}

void check_block_size(const Attention& call) {
    const int64_t size = call.block_size;
    if (call.layout == "TND") {
        require(size > 0 && size <= 128 && size % 16 == 0, kAttentionPage, "block_size ", size, " must be a multiple of 16, at most 128");
        return;
    }
    const int64_t longest = call.layout == "BNSD" || call.layout == "BNSD_BSND" ? call.query.size(2) : call.query.size(1);
    const int64_t unit = longest > 1 ? 128 : 16;
    require(size > 0 && size <= 512 && size % unit == 0, kAttentionPaged, "block_size ", size, " must be a multiple of ", unit, ", at most 512");
}

void check_paged_cache(const Attention& call) {
    const int64_t width = call.num_kv_heads * head_size(call);
    if (call.key.dim() == 3) {
        require(call.key.size(1) == call.block_size && call.key.size(2) == width, kAttentionPaged, "cache ", call.key.sizes(),
                " is not [blocks, block_size ", call.block_size, ", num_key_value_heads * head size ", width, "]");
        require(width <= 65535, kAttentionPaged, "num_key_value_heads * head size ", width, " is over 65535");
    } else {
        require(call.layout != "BSH" && call.layout != "BSND", kAttentionPaged, "layout ", call.layout, " takes a cache of 3 dimensions");
        require(call.key.dim() == 4 && call.key.size(1) == call.num_kv_heads && call.key.size(2) == call.block_size, kAttentionPaged,
                "cache ", call.key.sizes(), " is neither [blocks, block_size, heads * head size] nor [blocks, heads ", call.num_kv_heads,
                ", block_size ", call.block_size, ", head size]");
    }
}

void check_block_table(const Attention& call) {
    const Tensor& table = *call.block_table;
    require_dtype("block_table", table, {at::kInt}, kAttentionDoc);
    require(call.kv_lengths.has_value(), kAttentionPaged, "a paged cache needs actual_seq_lengths_kv");
    const int64_t requests = call.layout == "TND" ? call.query_lengths->size() : call.query.size(0);
    require(table.dim() == 2 && table.size(0) == requests, kAttentionPaged, "block_table ", table.sizes(), " must have one row for each of ",
            requests, " requests");
    for (const int64_t length : *call.kv_lengths) {
        require(length >= 0 && length <= table.size(1) * call.block_size, kAttentionPaged, "a request of ", length, " tokens does not fit the ",
                table.size(1), " blocks of ", call.block_size, " that block_table has room for");
    }
}

}  // namespace

void fused_infer_attention(const Attention& call) {
    require(chip() != Chip::inference_310p, kAttentionPage, "this chip (", settings().soc_name, ") does not have the operator");
    require(call.layout == "TND" || call.layout == "BSH" || call.layout == "BSND" || call.layout == "BNSD" || call.layout == "BNSD_BSND",
            kAttentionDoc, "input_layout ", call.layout, " is none of BSH, BSND, BNSD, BNSD_BSND, TND");
    require(0 <= call.inner_precise && call.inner_precise <= 3, kAttentionDoc, "inner_precise ", call.inner_precise, " is none of 0 to 3");
    check_attention_types(call);
    check_attention_heads(call);
    check_attention_mask(call);
    check_band(call);
    if (call.layout == "TND") {
        const bool grouped = call.num_heads != call.num_kv_heads || call.query.scalar_type() == at::kBFloat16;
        require(call.inner_precise == 0 || (!grouped && call.inner_precise == 1), kAttentionPage, "inner_precise ", call.inner_precise,
                " is not supported with layout TND here; 0 is");
        check_lengths_TND(call);
    }
    if (!call.block_table) return;
    check_block_size(call);
    check_paged_cache(call);
    check_block_table(call);
}

void compressed_mask_values(const Tensor& mask) {
    const Tensor square = mask.reshape({2048, 2048}).to(at::kInt);
    for (const int64_t i : {0, 1, 127, 128, 1023, 2046}) {
        const bool zero_on_diagonal = square[i][i].item<int>() == 0, one_above = square[i][i + 1].item<int>() == 1;
        const bool zero_below = square[i + 1][0].item<int>() == 0, one_at_end = square[i][2047].item<int>() == 1;
        require(zero_on_diagonal && one_above && zero_below && one_at_end, kAttentionDoc, "atten_mask of sparse modes 2 to 4 must be 1 above the ",
                "diagonal and 0 elsewhere (torch.triu(torch.ones(2048, 2048), diagonal=1)); row ", i, " is not");
    }
}

// ---- KV cache --------------------------------------------------------------------------------------------------------

void scatter_pa_kv_cache(const Tensor& key, const Tensor& value, const Tensor& key_cache, const Tensor& value_cache, const Tensor& slots,
                         const std::string& cache_mode) {
    require(chip() != Chip::inference_310p, kScatterPage, "this chip (", settings().soc_name, ") does not have the operator");
    require(cache_mode.empty() || cache_mode == "Norm" || cache_mode == "PA_NZ", kScatterPage, "cache_mode ", cache_mode, " is neither Norm nor PA_NZ");
    require_dtype("key", key, {at::kHalf, at::kBFloat16, at::kChar}, kScatterPage);
    for (const auto& [what, tensor] : {std::pair("value", value), std::pair("key_cache", key_cache), std::pair("value_cache", value_cache)}) {
        require_same_dtype(what, tensor, key, kScatterPage);
    }
    require_dims("key", key, 3, 3, kScatterPage);
    require_dims("value", value, 3, 3, kScatterPage);
    require_dims("key_cache", key_cache, 4, 4, kScatterPage);
    require_dims("value_cache", value_cache, 4, 4, kScatterPage);
    require_dtype("slot_mapping", slots, {at::kInt, at::kLong}, kScatterPage);
    require(key.numel() > 0, kScatterPage, "key is empty: ", key.sizes());
    require(slots.dim() == 1 && slots.size(0) == key.size(0) && value.size(0) == key.size(0), kScatterPage, "slot_mapping ", slots.sizes(),
            ", key ", key.sizes(), " and value ", value.sizes(), " must have as many tokens");
    if (cache_mode == "PA_NZ") {
        const int64_t tile = 32 / key.element_size();
        require(key_cache.size(3) == tile && key.size(2) % tile == 0, kScatterPage, "a cache in tiles ends in ", tile, ", and the head size is a ",
                "multiple of it; got ", key_cache.sizes(), " for key ", key.sizes());
    } else {
        require(key_cache.size(2) == key.size(1) && key_cache.size(3) == key.size(2), kScatterPage, "key_cache ", key_cache.sizes(),
                " is not [blocks, block_size, heads, head size] of key ", key.sizes());
    }
}

void slot_values(const Tensor& slots, int64_t num_slots) {
    const int64_t lowest = slots.min().item<int64_t>(), highest = slots.max().item<int64_t>();
    require(lowest >= 0 && highest < num_slots, kScatterPage, "slot_mapping holds ", lowest < 0 ? lowest : highest, "; allowed: 0 to ", num_slots - 1);
}

// ---- norms, activations, rotary --------------------------------------------------------------------------------------

void rms_norm(const Tensor& x, const Tensor& gamma) {
    require_dtype("the input", x, kFloats, kRmsNormDoc);
    require(x.dim() <= 8, kRmsNormDoc, "the input has ", x.dim(), " dimensions; at most 8");
    const bool is_tail = gamma.dim() <= x.dim() && x.sizes().slice(x.dim() - gamma.dim()) == gamma.sizes();
    require(is_tail, kRmsNormDoc, "gamma ", gamma.sizes(), " must be the last dimensions of ", x.sizes());
    require(gamma.scalar_type() == x.scalar_type() || gamma.scalar_type() == at::kFloat, kRmsNormDoc, "gamma has the dtype ",
            gamma.scalar_type(), ", the input ", x.scalar_type());
}

void add_rms_norm(const Tensor& x1, const Tensor& x2, const Tensor& gamma) {
    rms_norm(x1, gamma);
    require_same_dtype("x2", x2, x1, kRmsNormDoc);
    require_same_dtype("gamma", gamma, x1, kRmsNormDoc);
    require(x1.sizes() == x2.sizes(), kRmsNormDoc, "x1 ", x1.sizes(), " and x2 ", x2.sizes(), " differ in shape");
}

void swiglu(const Tensor& x, int64_t dim) {
    require_dtype("the input", x, kFloats, kSwigluDoc);
    require_dims("the input", x, 1, 8, kSwigluDoc);
    require(x.size(dim) % 2 == 0, kSwigluDoc, "dimension ", dim, " of ", x.sizes(), " cannot be halved");
}

namespace {

// cos and sin of a BSND, BNSD or SBND input have one head; batch and sequence are the input's or 1.
bool broadcasts_to(const Tensor& small, const Tensor& x) {
    bool fits = small.dim() == x.dim() && small.size(-1) == x.size(-1);
    for (int64_t i = 0; fits && i < x.dim(); i++) fits = small.size(i) == 1 || small.size(i) == x.size(i);
    return fits;
}

}  // namespace

void rotary_mul(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t mode) {
    require(mode == 0 || mode == 1, kRotaryMulDoc, "rotary mode ", mode, " is neither half (0) nor interleave (1)");
    require_dtype("the input", x, kFloats, kRotaryMulDoc);
    require_dims("the input", x, 4, 4, kRotaryMulDoc);
    require(x.size(-1) % 2 == 0 && x.size(-1) < 896, kRotaryMulDoc, "head size ", x.size(-1), " must be even and less than 896");
    require(broadcasts_to(cos, x) && cos.sizes() == sin.sizes(), kRotaryMulDoc, "r1 ", cos.sizes(), " and r2 ", sin.sizes(),
            " must be the input's shape ", x.sizes(), " with ones for heads (and batch)");
    require(x.size(0) < 1000 || x.size(0) == cos.size(0), kRotaryMulDoc, "the input's batch ", x.size(0), " is over 1000");
}

void apply_rotary_pos_emb(const Tensor& query, const Tensor& key, const Tensor& cos, const Tensor& sin, int64_t layout, const std::string& mode) {
    require(mode.empty() || mode == "half", kApplyRotaryDoc, "rotary_mode ", mode, " is not half");
    require_dtype("query", query, kFloats, kApplyRotaryDoc);
    for (const Tensor& tensor : {key, cos, sin}) require_same_dtype("key, cos or sin", tensor, query, kApplyRotaryDoc);
    require(layout == 1 || layout == 4, kApplyRotaryDoc, "layout ", layout, " is neither BSND (1) nor TND (4)");
    const int64_t dims = layout == 1 ? 4 : 3, size = query.size(-1);
    for (const Tensor& tensor : {query, key, cos, sin}) require_dims("query, key, cos or sin", tensor, dims, dims, kApplyRotaryDoc);
    require(size == 64 || size == 128, kApplyRotaryDoc, "head size ", size, " is neither 64 nor 128");
    require(key.size(-1) == size && cos.size(-1) == size && cos.sizes() == sin.sizes() && cos.size(-2) == 1, kApplyRotaryDoc, "query ",
            query.sizes(), ", key ", key.sizes(), ", cos ", cos.sizes(), " and sin ", sin.sizes(), " do not fit");
}

// ---- sampling --------------------------------------------------------------------------------------------------------

void top_k_top_p(const Tensor& logits, const OptionalTensor& p, const OptionalTensor& k) {
    require(p || k, kTopKTopPDoc, "p and k are both missing");
    require_dtype("logits", logits, kFloats, kTopKTopPDoc);
    require_dims("logits", logits, 2, 2, kTopKTopPDoc);
    if (p) require_same_dtype("p", *p, logits, kTopKTopPDoc);
    if (k) require_dtype("k", *k, {at::kInt}, kTopKTopPDoc);
    for (const OptionalTensor& one : {p, k}) {
        if (one) require(one->dim() == 1 && one->size(0) == logits.size(0), kTopKTopPDoc, "p or k ", one->sizes(), " must have one value for each of ",
                         logits.size(0), " rows");
    }
}

// ---- quantisation ----------------------------------------------------------------------------------------------------

void dynamic_quant(const Tensor& x, const OptionalTensor& smooth_scales) {
    require_dtype("the input", x, {at::kHalf, at::kBFloat16}, kDynamicQuantDoc);
    require(x.dim() > 1, kDynamicQuantDoc, "the input has ", x.dim(), " dimension; at least 2");
    if (!smooth_scales) return;
    require_same_dtype("smooth_scales", *smooth_scales, x, kDynamicQuantDoc);
    require(smooth_scales->dim() == 1 && smooth_scales->size(0) == x.size(-1), kDynamicQuantDoc, "smooth_scales ", smooth_scales->sizes(),
            " must be one per channel of ", x.sizes());
}

void matmul_weight_nz(const Tensor& x, const Tensor& weight) {
    require_dtype("the input", x, {at::kHalf, at::kBFloat16}, "aclnnMatmulWeightNz.md, parameters");
    require_same_dtype("the weight", weight, x, "aclnnMatmulWeightNz.md, parameters");
}

namespace {

bool one_or(const Tensor& scale, int64_t count) { return scale.dim() == 1 && (scale.size(0) == 1 || scale.size(0) == count); }

// Table 1 of Atlas A2: which scale and bias go with which output.
void check_quant_matmul_types(const QuantMatmul& call) {
    const at::ScalarType out = call.out.scalar_type();
    require_dtype("output_dtype", call.out, {at::kChar, at::kHalf, at::kBFloat16, at::kInt}, kQuantMatmulDoc);
    const bool packed = call.scale.scalar_type() == at::kLong;
    if (call.pertoken_scale) {
        require(out == at::kBFloat16 || out == at::kHalf, kQuantMatmulDoc, "pertoken_scale with output ", out, "; bfloat16 and float16 take it");
        require_dtype("scale with pertoken_scale", call.scale, {at::kFloat, at::kBFloat16}, kQuantMatmulDoc);
        require(out == at::kBFloat16 || call.scale.scalar_type() == at::kFloat, kQuantMatmulDoc, "output float16 takes a scale in float32");
    } else if (out == at::kHalf || out == at::kChar) {
        require(packed || call.scale.scalar_type() == at::kFloat, kQuantMatmulDoc, "output ", out, " without pertoken_scale takes a scale in int64 or ",
                "float32, got ", call.scale.scalar_type());
    } else {
        require_dtype("scale", call.scale, {at::kFloat, at::kBFloat16}, kQuantMatmulDoc);
    }
    if (call.bias) require_dtype("bias", *call.bias, {at::kInt, at::kBFloat16, at::kHalf, at::kFloat}, kQuantMatmulDoc);
    if (call.bias && !call.pertoken_scale && out != at::kBFloat16) require_dtype("bias", *call.bias, {at::kInt}, kQuantMatmulDoc);
    if (call.offset && call.offset->numel()) require(out == at::kChar, kQuantMatmulDoc, "offset goes with output int8 only");
}

}  // namespace

void quant_matmul(const QuantMatmul& call) {
    require_dtype("x1", call.x1, {at::kChar}, kQuantMatmulDoc);
    require_dtype("x2", call.x2, {at::kChar}, kQuantMatmulDoc);
    require_dims("x1", call.x1, 2, 6, kQuantMatmulDoc);
    require_dims("x2", call.x2, 2, 6, kQuantMatmulDoc);
    require(call.x1.size(-1) == call.x2.size(-2), kQuantMatmulDoc, "x1 ", call.x1.sizes(), " and x2 ", call.x2.sizes(), " do not fit");
    require(call.x1.size(-1) <= 65535 && call.x2.size(-1) <= 65535, kQuantMatmulDoc, "the last dimension of x1 ", call.x1.sizes(), " or x2 ",
            call.x2.sizes(), " is over 65535");
    const int64_t m = call.x1.size(-2), n = call.x2.size(-1);
    require(one_or(call.scale, n), kQuantMatmulDoc, "scale ", call.scale.sizes(), " must have 1 or ", n, " values");
    if (call.pertoken_scale) {
        require(chip() != Chip::inference_310p, kQuantMatmulDoc, "this chip (", settings().soc_name, ") does not take pertoken_scale");
        require_dtype("pertoken_scale", *call.pertoken_scale, {at::kFloat}, kQuantMatmulDoc);
        require(call.pertoken_scale->dim() == 1 && call.pertoken_scale->size(0) == m, kQuantMatmulDoc, "pertoken_scale ", call.pertoken_scale->sizes(),
                " must have one value for each of ", m, " tokens");
    }
    if (call.bias) require(call.bias->size(-1) == n, kQuantMatmulDoc, "bias ", call.bias->sizes(), " must have ", n, " values");
    check_quant_matmul_types(call);
}

// ---- mixtures of experts ---------------------------------------------------------------------------------------------

void grouped_matmul(const TensorList& x, int64_t num_weights, const OptionalTensor& group_list, int64_t split_item, int64_t group_type,
                    int64_t act_type) {
    require(x.size() <= 128 && num_weights <= 128, kGroupedMatmulDoc, "lists of ", x.size(), " and ", num_weights, " tensors; at most 128");
    require(0 <= split_item && split_item <= 3, kGroupedMatmulDoc, "split_item ", split_item, " is none of 0 to 3");
    require(group_type == -1 || group_type == 0, kGroupedMatmulDoc, "group_type ", group_type, " is neither -1 nor 0");
    require(0 <= act_type && act_type <= 5, kGroupedMatmulDoc, "act_type ", act_type, " is none of 0 to 5");
    for (const Tensor& one : x) {
        require_dtype("x", one, {at::kHalf, at::kBFloat16, at::kFloat, at::kChar}, kGroupedMatmulDoc);
        require(one.size(-1) < 65536, kGroupedMatmulDoc, "the last dimension of x ", one.sizes(), " is not below 65536");
    }
    if (!group_list) {
        require(group_type == -1, kGroupedMatmulDoc, "group_type ", group_type, " needs a group_list");
        return;
    }
    require_dtype("group_list", *group_list, {at::kLong}, kGroupedMatmulDoc);
    require(group_list->dim() == 1, kGroupedMatmulDoc, "group_list ", group_list->sizes(), " must have one dimension");
}

void moe_gating_top_k_softmax(const Tensor& x, int64_t k) {
    require_dtype("x", x, kFloats, kGatingDoc);
    require_dims("x", x, 2, 3, kGatingDoc);
    require(0 < k && k <= x.size(-1) && k <= 1024, kGatingDoc, "k ", k, " must be between 1 and the number of experts ", x.size(-1), ", at most 1024");
}

void moe_init_routing(const Tensor& x, const Tensor& expert_idx, int64_t active_num, int64_t expert_num, int64_t drop_pad_mode, int64_t count_type,
                      bool count_flag, int64_t quant_mode, const Ints& active_range) {
    require_dtype("x", x, {at::kHalf, at::kBFloat16, at::kFloat, at::kChar}, kInitRoutingDoc);
    require_dims("x", x, 2, 2, kInitRoutingDoc);
    require_dtype("expert_idx", expert_idx, {at::kInt}, kInitRoutingDoc);
    require(expert_idx.dim() == 2 && expert_idx.size(0) == x.size(0), kInitRoutingDoc, "expert_idx ", expert_idx.sizes(), " must be [", x.size(0), ", K]");
    require(active_num >= -1, kInitRoutingDoc, "active_num ", active_num, " is below -1");
    require(expert_num > 0 && expert_num <= (count_type == 2 ? 5120 : 10240), kInitRoutingDoc, "expert_num ", expert_num, " is out of range");
    require(drop_pad_mode == 0, kInitRoutingDoc, "drop_pad_mode ", drop_pad_mode, " is not supported; 0 is");
    require(count_type == 1 || count_type == 2, kInitRoutingDoc, "expert_tokens_num_type ", count_type, " is not supported; 1 and 2 are");
    require(count_flag, kInitRoutingDoc, "expert_tokens_num_flag must be true");
    require(quant_mode == -1 || quant_mode == 1, kInitRoutingDoc, "quant_mode ", quant_mode, " is not supported; -1 and 1 are");
    require(quant_mode == -1 || x.scalar_type() != at::kChar, kInitRoutingDoc, "x in int8 cannot be quantised again");
    const bool ordered = active_range.size() != 2 || (0 <= active_range[0] && active_range[0] < active_range[1] && active_range[1] <= expert_num);
    require(ordered, kInitRoutingDoc, "active_expert_range ", active_range, " must lie in 0 to ", expert_num);
}

void moe_finalize_routing(const Tensor& rows, const OptionalTensor& skip1, const OptionalTensor& skip2, int64_t drop_pad_mode) {
    require_dtype("expanded_permuted_rows", rows, kFloats, kFinalizeRoutingDoc);
    require(drop_pad_mode == 0 || drop_pad_mode == 2, kFinalizeRoutingDoc, "drop_pad_mode ", drop_pad_mode, " is not simulated (0 and 2 are)");
    require(skip2.has_value() || !skip1.has_value(), kFinalizeRoutingDoc, "skip1 without skip2");
}

}  // namespace cann_sim::limits
