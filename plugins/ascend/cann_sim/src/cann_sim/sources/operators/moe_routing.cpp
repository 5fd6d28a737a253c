// Mixtures of experts: rows sorted by expert, and their weighted sum brought back to the tokens.
//
// Legend: N tokens, K experts per token, E experts, R = N * K rows (a token once for each of its experts).
#include <ATen/ATen.h>

#include "limits.h"
#include "operator.h"
#include "quantization.h"

using namespace cann_sim;

namespace {

// Rows whose expert lies in [first, end), in the order of their experts, a token's order kept: numbers of rows in [0, N * K).
struct SortedRows {
    Tensor row;     // [active]
    Tensor expert;  // [active]
};

SortedRows sorted_by_expert(const Tensor& expert_idx, int64_t first, int64_t end) {
    const Tensor flat = expert_idx.flatten().to(at::kLong);
    const auto [expert, row] = at::sort(flat, /*stable=*/true, 0, /*descending=*/false);
    const Tensor active = at::logical_and(expert >= first, expert < end);
    return {row.masked_select(active), expert.masked_select(active)};
}

// Type 0 gather: for each of a token's choices, which sorted row it became, -1 for none. Type 1 scatter: the inverse.
Tensor row_index(const SortedRows& sorted, int64_t num_rows, int64_t type) {
    const Tensor index = at::full({num_rows}, -1, at::kLong);
    if (type == 1) {
        index.slice(0, 0, sorted.row.size(0)).copy_(sorted.row);
    } else {
        index.index_put_({sorted.row}, at::arange(sorted.row.size(0)));
    }
    return index;
}

// Count type 1: rows per expert. 0: their running sum. 2: (expert, rows) of those that have any, then a pair of zeros.
void write_counts(const Tensor& out, const Tensor& expert, int64_t first, int64_t end, int64_t type) {
    const Tensor counts = at::bincount(expert - first, std::nullopt, end - first);
    if (type != 2) {
        write(out, type == 0 ? at::cumsum(counts, 0) : counts);
        return;
    }
    const Tensor used = at::nonzero(counts).squeeze(-1);
    out.zero_();
    out.slice(0, 0, used.size(0)).copy_(at::stack({used + first, counts.index_select(0, used)}, 1));
}

}  // namespace

OPERATOR(aclnnMoeInitRoutingV3, [](Tensor x, Tensor expert_idx, OptionalTensor scale, OptionalTensor offset, int64_t active_num, int64_t,
        int64_t expert_num, int64_t drop_pad_mode, int64_t count_type, bool count_flag, int64_t quant_mode, Ints active_range,
        int64_t row_idx_type, Tensor expanded_x, Tensor expanded_row_idx, Tensor counts, OptionalTensor expanded_scale) -> Work {
    limits::moe_init_routing(x, expert_idx, active_num, expert_num, drop_pad_mode, count_type, count_flag, quant_mode, active_range);
    refuse(quant_mode == 1 && scale.has_value(), "routing with smoothing scales");
    const int64_t first = active_range.empty() ? 0 : active_range[0], end = active_range.empty() ? expert_num : active_range[1];
    const int64_t k = expert_idx.size(1);
    return [=] {
        const SortedRows sorted = sorted_by_expert(expert_idx, first, end);
        const int64_t num_kept = std::min(sorted.row.size(0), expanded_x.size(0));
        const Tensor token = at::floor_divide(sorted.row.slice(0, 0, num_kept), k);
        const Tensor rows = x.index_select(0, token);
        if (quant_mode == 1) {
            const DynamicallyQuantised quantised = dynamic_quant(rows, std::nullopt);
            expanded_x.slice(0, 0, num_kept).copy_(quantised.y);
            expanded_scale->slice(0, 0, num_kept).copy_(quantised.scale);
        } else {
            expanded_x.slice(0, 0, num_kept).copy_(rows);
            if (scale && expanded_scale) expanded_scale->slice(0, 0, num_kept).copy_(scale->index_select(0, token));
        }
        write(expanded_row_idx, row_index(sorted, expert_idx.numel(), row_idx_type));
        write_counts(counts, sorted.expert, first, end, count_type);
    };
})

namespace {

struct FinalizeRouting {
    Tensor rows;
    Tensor row_index;
    OptionalTensor skip1, skip2, bias, scales, experts;
    int64_t drop_pad_mode;
    Tensor out;
};

// out[n] = skips + sum over k of scales[n, k] * (rows[row_index[...]] + bias[expert]); a row index of -1 adds nothing.
void finalize_routing(const FinalizeRouting& call) {
    const int64_t num_tokens = call.out.size(0), k = call.row_index.numel() / num_tokens;
    // Drop-pad mode 0 counts rows choice by choice (k-th choices of all tokens together), mode 2 token by token.
    const Tensor index = call.row_index.to(at::kLong);
    const Tensor index_NK = call.drop_pad_mode == 2 ? index.reshape({num_tokens, k}) : index.reshape({k, num_tokens}).t();
    const Tensor flat_rows = call.rows.reshape({-1, call.rows.size(-1)}).to(at::kFloat);
    Tensor picked = flat_rows.index({index_NK.clamp_min(0)});  // [N, K, hidden]
    if (call.bias && call.experts) picked = picked + call.bias->to(at::kFloat).index({call.experts->to(at::kLong)});
    picked = picked.masked_fill((index_NK < 0).unsqueeze(-1), 0);
    if (call.scales) picked = picked * call.scales->to(at::kFloat).unsqueeze(-1);
    Tensor sum = picked.sum(1);
    if (call.skip1) sum = sum + *call.skip1;
    if (call.skip2) sum = sum + *call.skip2;
    write(call.out, sum);
}

}  // namespace

OPERATOR(aclnnMoeFinalizeRoutingV2, [](Tensor rows, Tensor row_index, OptionalTensor skip1, OptionalTensor skip2, OptionalTensor bias,
        OptionalTensor scales, OptionalTensor experts, int64_t drop_pad_mode, Tensor out) -> Work {
    limits::moe_finalize_routing(rows, skip1, skip2, drop_pad_mode);
    const FinalizeRouting call{rows, row_index, skip1, skip2, bias, scales, experts, drop_pad_mode, out};
    return [=] { finalize_routing(call); };
})

// Tokens repeated once per expert and sorted by expert; the index says where each repetition went.
OPERATOR(aclnnMoeTokenPermute, [](Tensor tokens, Tensor indices, int64_t num_out_tokens, bool padded, Tensor out, Tensor sorted_indices) -> Work {
    refuse(padded, "permutation in padded mode");
    return [=] {
        const int64_t k = indices.dim() == 1 ? 1 : indices.size(1);
        const Tensor order = at::argsort(indices.flatten().to(at::kLong), /*stable=*/true, 0, false);
        write(sorted_indices, at::argsort(order, true, 0, false));
        const int64_t kept = num_out_tokens > 0 ? std::min(num_out_tokens, order.size(0)) : order.size(0) + num_out_tokens;
        write(out, tokens.index_select(0, at::floor_divide(order.slice(0, 0, kept), k)));
    };
})
OPERATOR(aclnnMoeTokenUnpermute, [](Tensor permuted, Tensor sorted_indices, OptionalTensor probs, bool padded, OptionalInts, Tensor out) -> Work {
    refuse(padded, "permutation in padded mode");
    return [=] {
        const int64_t k = probs ? probs->size(1) : 1;
        const Tensor index = sorted_indices.to(at::kLong);
        const Tensor kept = (index < permuted.size(0)).unsqueeze(-1);
        Tensor rows = permuted.to(at::kFloat).index_select(0, index.clamp_max(permuted.size(0) - 1)) * kept;
        rows = rows.unflatten(0, {-1, k});
        write(out, (probs ? rows * probs->to(at::kFloat).unsqueeze(-1) : rows).sum(1));
    };
})
