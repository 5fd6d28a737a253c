// Owns the documented limits of the real operators: what a real NPU refuses, or computes wrongly without a word, raises here.
//
// Each check names its source. Operators call theirs while the workspace size is asked for, where only dtypes, shapes and host
// lists are known; the few limits on *values* in device memory are checked when the work runs.
#pragma once
#include <stdexcept>
#include <string>

#include "object_model.h"

namespace cann_sim {

class LimitError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A variant that the real operator has, but the simulator has not.
inline void refuse(bool given, const std::string& what) {
    if (given) throw LimitError(what + " is not simulated");
}

namespace limits {

// Generations of chips, as the documentation groups them.
enum class Chip { a2_a3, inference_310p, other };
Chip chip();

struct Attention {
    Tensor query;
    Tensor key;
    Tensor value;
    OptionalTensor mask;
    OptionalInts query_lengths;
    OptionalInts kv_lengths;
    OptionalTensor block_table;
    std::string layout;
    int64_t num_heads;
    int64_t num_kv_heads;
    int64_t pre_tokens;
    int64_t next_tokens;
    int64_t sparse_mode;
    int64_t inner_precise;
    int64_t block_size;
};
void fused_infer_attention(const Attention& call);
// The mask of sparse modes 2 to 4 must have ones above the diagonal and zeros below; looked at in a few places.
void compressed_mask_values(const Tensor& mask);

void scatter_pa_kv_cache(const Tensor& key, const Tensor& value, const Tensor& key_cache, const Tensor& value_cache,
                         const Tensor& slots, const std::string& cache_mode);
void slot_values(const Tensor& slots, int64_t num_slots);

void rms_norm(const Tensor& x, const Tensor& gamma);
void add_rms_norm(const Tensor& x1, const Tensor& x2, const Tensor& gamma);
void swiglu(const Tensor& x, int64_t dim);
void rotary_mul(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t mode);
void apply_rotary_pos_emb(const Tensor& query, const Tensor& key, const Tensor& cos, const Tensor& sin, int64_t layout,
                          const std::string& mode);
void top_k_top_p(const Tensor& logits, const OptionalTensor& p, const OptionalTensor& k);

void dynamic_quant(const Tensor& x, const OptionalTensor& smooth_scales);
struct QuantMatmul {
    Tensor x1;
    Tensor x2;
    bool x2_is_nz;
    OptionalTensor pertoken_scale;
    Tensor scale;
    OptionalTensor offset;
    OptionalTensor bias;
    Tensor out;
};
void quant_matmul(const QuantMatmul& call);
void matmul_weight_nz(const Tensor& x, const Tensor& weight);

void grouped_matmul(const TensorList& x, int64_t num_weights, const OptionalTensor& group_list, int64_t split_item, int64_t group_type,
                    int64_t act_type);
void moe_gating_top_k_softmax(const Tensor& x, int64_t k);
void moe_init_routing(const Tensor& x, const Tensor& expert_idx, int64_t active_num, int64_t expert_num, int64_t drop_pad_mode,
                      int64_t count_type, bool count_flag, int64_t quant_mode, const Ints& active_range);
void moe_finalize_routing(const Tensor& rows, const OptionalTensor& skip1, const OptionalTensor& skip2, int64_t drop_pad_mode);

}  // namespace limits
}  // namespace cann_sim
