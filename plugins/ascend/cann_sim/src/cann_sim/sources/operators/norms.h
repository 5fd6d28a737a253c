// The RMS norm, shared with the operators that quantise its result.
#pragma once
#include "object_model.h"

namespace cann_sim {

struct Normed {
    Tensor y;     // in x's dtype
    Tensor rstd;  // float32, 1 / root mean square
};
Normed rms_norm(const Tensor& x, const Tensor& gamma, double epsilon);

}  // namespace cann_sim
