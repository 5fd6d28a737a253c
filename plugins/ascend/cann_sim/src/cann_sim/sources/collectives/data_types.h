// The data types of HCCL: their sizes and names, which of them can be reduced, and the reductions.
#pragma once

#include <hccl/hccl.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace cann_sim::collectives {

// 0 for a type that HCCL on this product does not carry.
size_t bytes_of(HcclDataType type);
const char* name_of(HcclDataType type);

// Reductions take fewer types than copies do: int8, int16, int32, int64, float16, float32, bfp16.
// Source: CANN 8.5.0, HCCL API, HcclAllReduce and HcclReduceScatter, parameter dataType.
bool can_reduce(HcclDataType type);
bool is_reduction(HcclReduceOp op);

// accumulated[i] = accumulated[i] op other[i]; 16-bit floats are rounded after each step, as they are on the wire.
void reduce(void* accumulated, const void* other, size_t count, HcclDataType type, HcclReduceOp op);

}  // namespace cann_sim::collectives
