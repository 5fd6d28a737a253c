// The arithmetic of attention over one request, shared by the attention operators.
//
// Legend: H query heads, K key/value heads, Q query tokens, S key tokens, D head size.
#pragma once
#include "object_model.h"

namespace cann_sim {

// Which (query, key) pairs are left out, [Q, S] bool; undefined where none is.
// Sparse modes: 0 and 1 take the mask as it is, 2 is causal from the first token, 3 causal up to the last token, 4 a band around 3.
struct Masking {
    int64_t sparse_mode;
    int64_t pre_tokens;
    int64_t next_tokens;
};
Tensor excluded_pairs(const Masking& masking, int64_t num_queries, int64_t num_keys, const OptionalTensor& mask);

struct Attended {
    Tensor out_QHD;
    Tensor lse_QH1;  // log of the softmax's denominator, float32
};
Attended attend(const Tensor& q_QHD, const Tensor& k_SKD, const Tensor& v_SKD, double scale, const Tensor& excluded_QS);

}  // namespace cann_sim
