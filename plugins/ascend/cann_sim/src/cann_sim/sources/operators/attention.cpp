// Fused attention for inference over contiguous or paged keys and values; and the plain fused attention that torch's
// scaled_dot_product_attention uses.
//
// Legend: T tokens of all requests, B requests or blocks, H query heads, K key/value heads, Q query tokens, S key tokens, D head size.
#include "attention.h"

#include <ATen/ATen.h>

#include <limits>

#include "limits.h"
#include "operator.h"

namespace cann_sim {
namespace {

constexpr double kExcluded = -std::numeric_limits<double>::infinity();

// True above the diagonal that lets query i see keys up to i + offset.
Tensor after(int64_t num_queries, int64_t num_keys, int64_t offset) {
    return at::ones({num_queries, num_keys}, at::kBool).triu(offset + 1);
}

Tensor before(int64_t num_queries, int64_t num_keys, int64_t offset) {
    return at::ones({num_queries, num_keys}, at::kBool).tril(offset - 1);
}

}  // namespace

Tensor excluded_pairs(const Masking& masking, int64_t num_queries, int64_t num_keys, const OptionalTensor& mask) {
    const int64_t last = num_keys - num_queries;  // the last query sees the last key
    switch (masking.sparse_mode) {
        case 2: return after(num_queries, num_keys, 0);
        case 3: return num_queries == 1 ? Tensor() : after(num_queries, num_keys, last);
        case 4: return at::logical_or(after(num_queries, num_keys, std::min(last + masking.next_tokens, num_keys)),
                                      before(num_queries, num_keys, std::max(last - masking.pre_tokens, -num_queries)));
        default: return mask ? mask->to(at::kBool).slice(0, 0, num_queries).slice(1, 0, num_keys) : Tensor();
    }
}

Attended attend(const Tensor& q_QHD, const Tensor& k_SKD, const Tensor& v_SKD, double scale, const Tensor& excluded_QS) {
    const int64_t group = q_QHD.size(1) / k_SKD.size(1);
    // Heads that share keys are stacked along the queries, so that keys are not copied: [K, group * Q, D].
    const Tensor q = q_QHD.to(at::kFloat).unflatten(1, {-1, group}).permute({1, 2, 0, 3}).flatten(1, 2);
    const Tensor k = k_SKD.to(at::kFloat).permute({1, 2, 0}), v = v_SKD.to(at::kFloat).transpose(0, 1);
    Tensor scores = at::bmm(q, k).mul_(scale).unflatten(1, {group, -1});  // [K, group, Q, S]
    if (excluded_QS.defined()) scores.masked_fill_(excluded_QS, kExcluded);
    const Tensor lse = at::logsumexp(scores, {-1}, /*keepdim=*/true);
    // A query that sees no key at all gives zeros.
    const Tensor weights = at::nan_to_num_(scores.sub_(lse).exp_(), 0.0);
    const Tensor out = at::bmm(weights.flatten(1, 2), v).unflatten(1, {group, -1});
    return {out.permute({2, 0, 1, 3}).flatten(1, 2), lse.permute({2, 0, 1, 3}).flatten(1, 2)};
}

namespace {

// What one request's rows are, in tensors that hold all requests.
struct Rows {
    int64_t request;
    int64_t start;
    int64_t count;
};

// Layouts TND: lengths are cumulative. Others: one length per request, or one for all; without, the whole.
std::vector<Rows> rows_of_requests(const OptionalInts& lengths, bool cumulative, int64_t num_requests, int64_t longest) {
    std::vector<Rows> rows;
    for (int64_t b = 0; b < num_requests; b++) {
        if (cumulative) {
            const int64_t start = b ? (*lengths)[b - 1] : 0;
            rows.push_back({b, start, (*lengths)[b] - start});
        } else {
            const bool given = lengths && !lengths->empty();
            rows.push_back({b, 0, given ? (*lengths)[lengths->size() == 1 ? 0 : b] : longest});
        }
    }
    return rows;
}

// A view as [requests, tokens, heads, D] of the layouts that have a batch dimension.
Tensor as_BSND(const Tensor& x, const std::string& layout, int64_t num_heads) {
    if (layout == "BSH") return x.unflatten(-1, {num_heads, -1});
    return layout.rfind("BNSD", 0) == 0 ? x.transpose(1, 2) : x;
}

Tensor rows_in(const Tensor& x, const limits::Attention& call, int64_t num_heads, const Rows& rows) {
    if (call.layout == "TND") return x.slice(0, rows.start, rows.start + rows.count);
    return as_BSND(x, call.layout, num_heads)[rows.request].slice(0, 0, rows.count);
}

// Cache blocks [B, block_size, K * D] or [B, K, block_size, D], gathered into [S, K, D].
Tensor paged_rows(const Tensor& cache, const limits::Attention& call, const Rows& rows) {
    const int64_t num_blocks = (rows.count + call.block_size - 1) / call.block_size;
    const Tensor ids = (*call.block_table)[rows.request].slice(0, 0, num_blocks).to(at::kLong);
    const Tensor blocks = cache.index_select(0, ids);
    const Tensor tokens = cache.dim() == 3 ? blocks.unflatten(-1, {call.num_kv_heads, -1}) : blocks.transpose(1, 2);
    return tokens.flatten(0, 1).slice(0, 0, rows.count);
}

OptionalTensor mask_of_request(const OptionalTensor& mask, int64_t request, int64_t num_requests) {
    if (!mask) return std::nullopt;
    Tensor one = *mask;
    while (one.dim() > 2) one = one[one.size(0) == num_requests ? request : 0];
    return one;
}

struct Outputs {
    Tensor attention;
    Tensor lse;
    bool wants_lse;
};

void write_lse(const limits::Attention& call, const Outputs& outputs, const Rows& rows, const Tensor& lse_QH1) {
    if (!outputs.wants_lse) return;
    if (call.layout == "TND") {
        outputs.lse.slice(0, rows.start, rows.start + rows.count).copy_(lse_QH1);
    } else {
        outputs.lse[rows.request].slice(1, 0, rows.count).copy_(lse_QH1.transpose(0, 1));
    }
}

Tensor output_rows(const limits::Attention& call, const Outputs& outputs, const Rows& rows) {
    if (call.layout == "BNSD_BSND") return outputs.attention[rows.request].slice(0, 0, rows.count);
    return rows_in(outputs.attention, call, call.num_heads, rows);
}

void attend_all(const limits::Attention& call, double scale, const Outputs& outputs) {
    const bool flat = call.layout == "TND", paged = call.block_table.has_value();
    const int64_t num_requests = flat ? call.query_lengths->size() : call.query.size(0);
    const auto longest = [&](const Tensor& x, int64_t heads) { return flat ? 0 : as_BSND(x, call.layout, heads).size(1); };
    const auto queries = rows_of_requests(call.query_lengths, flat, num_requests, longest(call.query, call.num_heads));
    const auto keys = rows_of_requests(call.kv_lengths, flat && !paged, num_requests, paged ? 0 : longest(call.key, call.num_kv_heads));
    if (call.mask && call.sparse_mode >= 2) limits::compressed_mask_values(*call.mask);
    const auto gather = [&](const Tensor& x, const Rows& rows) {
        return paged ? paged_rows(x, call, rows) : rows_in(x, call, call.num_kv_heads, rows);
    };
    for (int64_t b = 0; b < num_requests; b++) {
        if (queries[b].count == 0) continue;
        const Tensor out = output_rows(call, outputs, queries[b]);
        if (keys[b].count == 0) {
            out.zero_();
            continue;
        }
        const Tensor excluded = excluded_pairs({call.sparse_mode, call.pre_tokens, call.next_tokens}, queries[b].count, keys[b].count,
                                               mask_of_request(call.mask, b, num_requests));
        const Attended attended = attend(rows_in(call.query, call, call.num_heads, queries[b]), gather(call.key, keys[b]),
                                         gather(call.value, keys[b]), scale, excluded);
        out.copy_(attended.out_QHD);
        write_lse(call, outputs, queries[b], attended.lse_QH1);
    }
}

Work fused_infer_attention(limits::Attention call, double scale, const Outputs& outputs) {
    if (call.num_kv_heads == 0) call.num_kv_heads = call.num_heads;
    limits::fused_infer_attention(call);
    return [=] { attend_all(call, scale, outputs); };
}

}  // namespace
}  // namespace cann_sim

using namespace cann_sim;

// The parameters are those of the vendor's interface, most of which belong to quantised caches; these are refused, not ignored.
OPERATOR(aclnnFusedInferAttentionScoreV3, [](Tensor query, TensorList keys, TensorList values, OptionalTensor pse_shift, OptionalTensor mask,
        OptionalInts query_lengths, OptionalInts kv_lengths, OptionalTensor dequant_1, OptionalTensor quant_1, OptionalTensor dequant_2,
        OptionalTensor quant_2, OptionalTensor quant_offset_2, OptionalTensor antiquant_scale, OptionalTensor antiquant_offset,
        OptionalTensor block_table, OptionalTensor query_padding, OptionalTensor kv_padding, OptionalTensor key_scale,
        OptionalTensor key_offset, OptionalTensor value_scale, OptionalTensor value_offset, OptionalTensor key_prefix,
        OptionalTensor value_prefix, OptionalInts prefix_length, OptionalTensor query_rope, OptionalTensor key_rope,
        OptionalTensor key_rope_scale, int64_t num_heads, double scale, int64_t pre_tokens, int64_t next_tokens, std::string layout,
        int64_t num_kv_heads, int64_t sparse_mode, int64_t inner_precise, int64_t block_size, int64_t, bool wants_lse, int64_t, int64_t,
        Tensor out, Tensor lse) -> Work {
    refuse(dequant_1 || quant_1 || dequant_2 || quant_2 || quant_offset_2 || antiquant_scale || antiquant_offset, "quantisation");
    refuse(key_scale || key_offset || value_scale || value_offset || key_rope_scale, "quantisation of the cache");
    refuse(pse_shift || query_padding || kv_padding || key_prefix || value_prefix || prefix_length, "pse shift, padding or shared prefix");
    refuse(query_rope || key_rope, "separate rotary part (MLA)");
    refuse(keys.size() != 1 || values.size() != 1, "a list of keys");
    return fused_infer_attention({query, keys[0], values[0], mask, query_lengths, kv_lengths, block_table, layout, num_heads, num_kv_heads,
                                  pre_tokens, next_tokens, sparse_mode, inner_precise, block_size},
                                 scale, {out, lse, wants_lse});
})
MAX_WORKSPACE_SIZE(aclnnFusedInferAttentionScoreV3)

// V3 with a query's scale, a learnable sink and the query's quantisation mode.
OPERATOR(aclnnFusedInferAttentionScoreV4, [](Tensor query, TensorList keys, TensorList values, OptionalTensor pse_shift, OptionalTensor mask,
        OptionalInts query_lengths, OptionalInts kv_lengths, OptionalTensor dequant_1, OptionalTensor quant_1, OptionalTensor dequant_2,
        OptionalTensor quant_2, OptionalTensor quant_offset_2, OptionalTensor antiquant_scale, OptionalTensor antiquant_offset,
        OptionalTensor block_table, OptionalTensor query_padding, OptionalTensor kv_padding, OptionalTensor key_scale,
        OptionalTensor key_offset, OptionalTensor value_scale, OptionalTensor value_offset, OptionalTensor key_prefix,
        OptionalTensor value_prefix, OptionalInts prefix_length, OptionalTensor query_rope, OptionalTensor key_rope,
        OptionalTensor key_rope_scale, OptionalTensor query_scale, OptionalTensor sink, int64_t num_heads, double scale, int64_t pre_tokens,
        int64_t next_tokens, std::string layout, int64_t num_kv_heads, int64_t sparse_mode, int64_t inner_precise, int64_t block_size,
        int64_t, bool wants_lse, int64_t, int64_t, int64_t, Tensor out, Tensor lse) -> Work {
    refuse(dequant_1 || quant_1 || dequant_2 || quant_2 || quant_offset_2 || antiquant_scale || antiquant_offset, "quantisation");
    refuse(key_scale || key_offset || value_scale || value_offset || key_rope_scale || query_scale, "quantisation of query or cache");
    refuse(pse_shift || query_padding || kv_padding || key_prefix || value_prefix || prefix_length, "pse shift, padding or shared prefix");
    refuse(query_rope || key_rope, "separate rotary part (MLA)");
    refuse(sink.has_value(), "a learnable sink");
    refuse(keys.size() != 1 || values.size() != 1, "a list of keys");
    return fused_infer_attention({query, keys[0], values[0], mask, query_lengths, kv_lengths, block_table, layout, num_heads, num_kv_heads,
                                  pre_tokens, next_tokens, sparse_mode, inner_precise, block_size},
                                 scale, {out, lse, wants_lse});
})
MAX_WORKSPACE_SIZE(aclnnFusedInferAttentionScoreV4)

// Training's attention, which scaled_dot_product_attention goes to; without dropout and without what its backward pass needs.
OPERATOR(aclnnFlashAttentionScore, [](Tensor query, Tensor key, Tensor value, OptionalTensor real_shift, OptionalTensor drop_mask,
        OptionalTensor padding_mask, OptionalTensor mask, OptionalInts prefix, double scale, double keep_probability, int64_t pre_tokens,
        int64_t next_tokens, int64_t num_heads, std::string layout, int64_t, int64_t sparse_mode, OptionalTensor, OptionalTensor,
        OptionalTensor, Tensor out) -> Work {
    refuse(keep_probability < 1 || (drop_mask && drop_mask->numel()), "dropout");
    refuse(real_shift || padding_mask || (prefix && !prefix->empty()), "a shift, padding mask or prefix");
    refuse(layout == "SBH", "the layout SBH");
    return [=] {
        const Tensor q = as_BSND(query, layout, num_heads), o = as_BSND(out, layout, num_heads);
        const int64_t num_kv_heads = layout == "BSH" ? key.size(2) / (query.size(2) / num_heads) : layout == "BNSD" ? key.size(1) : key.size(2);
        const Tensor k = as_BSND(key, layout, num_kv_heads), v = as_BSND(value, layout, num_kv_heads);
        for (int64_t b = 0; b < q.size(0); b++) {
            const Tensor excluded = excluded_pairs({sparse_mode, pre_tokens, next_tokens}, q.size(1), k.size(1),
                                                   mask_of_request(mask, b, q.size(0)));
            o[b].copy_(attend(q[b], k[b], v[b], scale, excluded).out_QHD);
        }
    };
})
