// The checks of norms, activations, rotary embeddings, sampling, quantisation and mixtures of experts; attention's are beside this file.
//
// "910b" sections of the documentation (Atlas A2) are followed, which the pages of A3 repeat. Operators that a chip does not have raise too.
#include <ATen/ATen.h>

#include "../common/simulator.h"
#include "require.h"

namespace cann_sim::limits {
namespace {

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

}  // namespace

Chip chip() {
    const std::string& name = settings().soc_name;
    if (name.find("310P") != std::string::npos) return Chip::inference_310p;
    return name.find("910B") != std::string::npos || name.find("910_93") != std::string::npos ? Chip::a2_a3 : Chip::other;
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
