// Owns what the simulator knows of FRACTAL_NZ, the cube unit's layout of matrices: that a tensor has it, and how much memory it takes.
//
// The elements themselves stay in plain order, also in the runtime's own TransData, so a cast copies. What the tag is for: an operator
// that takes ND only refuses a tensor in FRACTAL_NZ (operator.cpp), and those that take it say so by a FormattedTensor.
#pragma once
#include "object_model.h"

namespace cann_sim {

bool is_nz(const FormattedTensor& tensor);

// [..., R, C] becomes [..., ceil(C / C0), ceil(R / 16), 16, C0], where C0 elements fill 32 bytes (source: CANN operator documentation,
// "Data formats").
Shape nz_storage_shape(const Shape& shape, int64_t element_bytes);

}  // namespace cann_sim
