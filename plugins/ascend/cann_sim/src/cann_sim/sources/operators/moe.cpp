// Mixtures of experts: choice of experts, sorting of tokens by expert, products by groups of rows, and the way back.
//
// Legend: N tokens, K experts per token, E experts, R = N * K rows (a token once for each of its experts).
#include <ATen/ATen.h>

#include "limits.h"
#include "operator.h"
#include "quantization.h"

using namespace cann_sim;

namespace {

struct Chosen {
    Tensor weights;
    Tensor experts;
};

Chosen best_experts(const Tensor& scores, int64_t k) {
    const auto [weights, experts] = at::topk(scores, k, -1);
    return {weights, experts};
}

// Where each group's rows end, as numbers: `kind` 0 gives them, kind 1 gives each group's size.
std::vector<int64_t> group_ends(const Tensor& group_list, int64_t kind) {
    const Tensor ends = (kind == 0 ? group_list : at::cumsum(group_list, 0)).to(at::kLong).contiguous();
    return {ends.data_ptr<int64_t>(), ends.data_ptr<int64_t>() + ends.numel()};
}

struct GroupedMatmul {
    Tensor x;
    std::vector<FormattedTensor> weights;
    OptionalTensorList bias;
    OptionalTensorList scale;
    OptionalTensorList per_token_scale;
    Tensor group_list;
    int64_t group_list_type;
    Tensor out;
};

// One tensor for all groups, or one per group.
template <class T>
Tensor of_group(const std::vector<T>& list, int64_t group, const std::function<Tensor(const T&)>& read) {
    return list.size() == 1 ? read(list[0])[group] : read(list[group]);
}

bool given(const OptionalTensorList& list) { return !list.empty() && list[0].has_value() && list[0]->numel() > 0; }

Tensor group_product(const GroupedMatmul& call, int64_t group, int64_t start, int64_t end) {
    const std::function<Tensor(const OptionalTensor&)> value = [](const OptionalTensor& tensor) { return *tensor; };
    const Tensor x = call.x.slice(0, start, end);
    const bool quantised = x.scalar_type() == at::kChar;
    const at::ScalarType type = quantised ? at::kDouble : x.scalar_type();
    Tensor y = at::mm(x.to(type), of_group<FormattedTensor>(call.weights, group, [](const FormattedTensor& tensor) { return tensor.view; }).to(type));
    if (given(call.bias)) y = y + of_group(call.bias, group, value);
    if (quantised && given(call.scale)) y = y.to(at::kFloat) * of_group(call.scale, group, value).to(at::kFloat);
    if (given(call.per_token_scale)) y = y * call.per_token_scale[0]->slice(0, start, end).unsqueeze(-1);
    return y;
}

void grouped_matmul(const GroupedMatmul& call) {
    int64_t start = 0, group = 0;
    for (const int64_t end : group_ends(call.group_list, call.group_list_type)) {
        TORCH_CHECK(start <= end && end <= call.x.size(0), "group_list: a group from row ", start, " to ", end, " of ", call.x.size(0));
        if (end > start) call.out.slice(0, start, end).copy_(group_product(call, group, start, end));
        start = end;
        group++;
    }
}

Work prepare_grouped_matmul(const TensorList& x, const std::vector<FormattedTensor>& weights, const OptionalTensorList& bias,
                            const OptionalTensorList& scale, const OptionalTensorList& per_token_scale, const OptionalTensor& group_list,
                            int64_t split_item, int64_t group_type, int64_t group_list_type, int64_t act_type, const TensorList& out) {
    limits::grouped_matmul(x, weights.size(), group_list, split_item, group_type, act_type);
    refuse(x.size() != 1 || out.size() != 1 || group_type != 0 || act_type != 0 || group_list_type > 1, "this grouping of the grouped product");
    const GroupedMatmul call{x[0], weights, bias, scale, per_token_scale, *group_list, group_list_type, out[0]};
    return [=] { grouped_matmul(call); };
}

}  // namespace

OPERATOR(aclnnGroupedMatmulV4, [](TensorList x, std::vector<FormattedTensor> weights, OptionalTensorList bias, OptionalTensorList scale,
        OptionalTensorList, OptionalTensorList antiquant_scale, OptionalTensorList, OptionalTensorList per_token_scale, OptionalTensor group_list,
        OptionalTensorList, OptionalTensorList, OptionalTensorList, int64_t split_item, int64_t group_type, int64_t group_list_type,
        int64_t act_type, TensorList out, OptionalTensorList, OptionalTensorList) -> Work {
    refuse(given(antiquant_scale), "a grouped product with weights quantised alone");
    return prepare_grouped_matmul(x, weights, bias, scale, per_token_scale, group_list, split_item, group_type, group_list_type, act_type, out);
})
OPERATOR(aclnnGroupedMatmulV5, [](TensorList x, std::vector<FormattedTensor> weights, OptionalTensorList bias, OptionalTensorList scale,
        OptionalTensorList, OptionalTensorList antiquant_scale, OptionalTensorList, OptionalTensorList per_token_scale, OptionalTensor group_list,
        OptionalTensorList, OptionalTensorList, OptionalTensorList, int64_t split_item, int64_t group_type, int64_t group_list_type,
        int64_t act_type, OptionalInts, TensorList out, OptionalTensorList, OptionalTensorList) -> Work {
    refuse(given(antiquant_scale), "a grouped product with weights quantised alone");
    return prepare_grouped_matmul(x, weights, bias, scale, per_token_scale, group_list, split_item, group_type, group_list_type, act_type, out);
})

OPERATOR(aclnnMoeGatingTopKSoftmax, [](Tensor x, OptionalTensor finished, int64_t k, Tensor out, Tensor experts, Tensor rows) -> Work {
    limits::moe_gating_top_k_softmax(x, k);
    return [=] {
        const Chosen chosen = best_experts(at::softmax(x, -1, at::kFloat), k);
        write(out, chosen.weights);
        // A finished token goes to expert E, which does not exist.
        write(experts, finished ? chosen.experts.masked_fill(finished->unsqueeze(-1), x.size(-1)) : chosen.experts);
        const int64_t num_tokens = rows.numel() / k;
        write(rows, (at::arange(num_tokens).unsqueeze(1) + at::arange(k).unsqueeze(0) * num_tokens).reshape(rows.sizes()));
    };
})
OPERATOR(aclnnMoeGatingTopKSoftmaxV2, [](Tensor x, OptionalTensor finished, int64_t k, int64_t renormalise, bool wants_softmax, Tensor out,
                                         Tensor experts, OptionalTensor softmax_out) -> Work {
    limits::moe_gating_top_k_softmax(x, k);
    return [=] {
        const Tensor scores = at::softmax(x, -1, at::kFloat);
        const Chosen chosen = best_experts(scores, k);
        write(out, renormalise ? chosen.weights / chosen.weights.sum(-1, true) : chosen.weights);
        write(experts, finished ? chosen.experts.masked_fill(finished->unsqueeze(-1), x.size(-1)) : chosen.experts);
        if (wants_softmax) write(softmax_out, scores);
    };
})

namespace {

struct Gating {
    int64_t k;
    int64_t groups_kept;
    int64_t num_groups;
    int64_t group_select_mode;  // 0: by a group's best expert, 1: by the sum of its two best
    int64_t renormalise;
    int64_t norm_type;  // 0: softmax, 1: sigmoid
    double scaling;
    double epsilon;
};

// Experts of all but the best groups do not take part.
Tensor within_best_groups(const Tensor& biased, const Gating& gating) {
    if (gating.num_groups <= 1) return biased;
    const Tensor grouped = biased.unflatten(-1, {gating.num_groups, -1});
    const Tensor score = gating.group_select_mode == 0 ? at::amax(grouped, {-1}) : std::get<0>(at::topk(grouped, 2, -1)).sum(-1);
    const Tensor kept = std::get<1>(at::topk(score, gating.groups_kept, -1));
    const Tensor left_out = at::ones_like(score, at::kBool).scatter(-1, kept, false);
    return grouped.masked_fill(left_out.unsqueeze(-1), -std::numeric_limits<double>::infinity()).flatten(-2);
}

void gate(const Gating& gating, const Tensor& x, const OptionalTensor& bias, const Tensor& out, const Tensor& experts_out,
          const OptionalTensor& scores_out) {
    const Tensor scores = gating.norm_type == 0 ? at::softmax(x, -1, at::kFloat) : at::sigmoid(x.to(at::kFloat));
    const Tensor biased = bias ? scores + bias->to(at::kFloat) : scores;  // the bias chooses, but does not weigh
    const Tensor experts = std::get<1>(at::topk(within_best_groups(biased, gating), gating.k, -1));
    Tensor weights = scores.gather(-1, experts);
    if (gating.norm_type == 1 || gating.renormalise) weights = weights / (weights.sum(-1, true) + gating.epsilon);
    write(out, weights * gating.scaling);
    write(experts_out, experts);
    write(scores_out, scores);
}

}  // namespace

OPERATOR(aclnnMoeGatingTopK, [](Tensor x, OptionalTensor bias, int64_t k, int64_t groups_kept, int64_t num_groups, int64_t group_select_mode,
        int64_t renormalise, int64_t norm_type, bool wants_scores, double scaling, double epsilon, Tensor out, Tensor experts,
        OptionalTensor scores) {
    gate({k, groups_kept, num_groups, group_select_mode, renormalise, norm_type, scaling, epsilon}, x, bias, out, experts,
         wants_scores ? scores : std::nullopt);
})
OPERATOR(aclnnMoeGatingTopKV2, [](Tensor x, OptionalTensor bias, OptionalTensor input_ids, OptionalTensor expert_of_token, int64_t k,
        int64_t groups_kept, int64_t num_groups, int64_t group_select_mode, int64_t renormalise, int64_t norm_type, bool wants_scores,
        double scaling, double epsilon, Tensor out, Tensor experts, OptionalTensor scores) -> Work {
    refuse(input_ids || expert_of_token, "a choice of experts by token id");
    return [=] {
        gate({k, groups_kept, num_groups, group_select_mode, renormalise, norm_type, scaling, epsilon}, x, bias, out, experts,
             wants_scores ? scores : std::nullopt);
    };
})
