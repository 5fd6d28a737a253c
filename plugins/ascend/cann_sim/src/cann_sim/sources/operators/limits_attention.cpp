// The checks of the fused attention and of writes into its cache.
//
// "910b" sections of the documentation (Atlas A2) are followed, which the pages of A3 repeat; where pages contradict each other, the more
// permissive reading is taken and said.
#include <ATen/ATen.h>

#include "../common/simulator.h"
#include "require.h"

namespace cann_sim::limits {
namespace {

constexpr char kAttentionPage[] = "aclnnFusedInferAttentionScoreV3.md, constraints, Atlas A2, TND, query D other than 512";
constexpr char kAttentionPaged[] = "aclnnFusedInferAttentionScoreV3.md, constraints, page attention";
constexpr char kAttentionDoc[] = "torch_npu.npu_fused_infer_attention_score, parameters and constraints";
constexpr char kAttentionIssue[] = "vllm-ascend pull request 6596: error 561002 where T differs from actual_seq_lengths[-1]";
constexpr char kScatterPage[] = "aclnnScatterPaKvCache.md, parameters and constraints, Atlas A2";
constexpr char kGuess[] = "a guess: no page says it";

}  // namespace

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
    const auto* entries = static_cast<const uint8_t*>(mask.const_data_ptr());  // contiguous, one byte each: checked at the call
    const auto entry = [&](int64_t row, int64_t column) { return int{entries[row * 2048 + column]}; };
    for (const int64_t i : {0, 1, 127, 128, 1023, 2046}) {
        const bool zero_up_to_diagonal = entry(i, i) == 0 && entry(i + 1, 0) == 0;
        const bool one_above = entry(i, i + 1) == 1 && entry(i, 2047) == 1;
        require(zero_up_to_diagonal && one_above, kAttentionDoc, "atten_mask of sparse modes 2 to 4 must be 1 above the ",
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

}  // namespace cann_sim::limits
