// Dynamic quantisation per token, shared with the operators that quantise what they move.
#pragma once
#include "object_model.h"

namespace cann_sim {

struct DynamicallyQuantised {
    Tensor y;      // int8
    Tensor scale;  // float32, one per token
};
DynamicallyQuantised dynamic_quant(const Tensor& x, const OptionalTensor& smooth_scales);

}  // namespace cann_sim
