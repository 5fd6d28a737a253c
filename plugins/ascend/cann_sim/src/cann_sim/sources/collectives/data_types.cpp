// Sizes, names and reductions by data type.
#include "data_types.h"

#include "float16.h"

#include <algorithm>
#include <stdexcept>

namespace cann_sim::collectives {

namespace {

struct Type {
    HcclDataType type;
    size_t bytes;
    const char* name;
    bool reducible;
};

constexpr Type kTypes[] = {
    {HCCL_DATA_TYPE_INT8, 1, "int8", true},        {HCCL_DATA_TYPE_INT16, 2, "int16", true},
    {HCCL_DATA_TYPE_INT32, 4, "int32", true},      {HCCL_DATA_TYPE_FP16, 2, "float16", true},
    {HCCL_DATA_TYPE_FP32, 4, "float32", true},     {HCCL_DATA_TYPE_INT64, 8, "int64", true},
    {HCCL_DATA_TYPE_UINT64, 8, "uint64", false},   {HCCL_DATA_TYPE_UINT8, 1, "uint8", false},
    {HCCL_DATA_TYPE_UINT16, 2, "uint16", false},   {HCCL_DATA_TYPE_UINT32, 4, "uint32", false},
    {HCCL_DATA_TYPE_FP64, 8, "float64", false},    {HCCL_DATA_TYPE_BFP16, 2, "bfp16", true},
};

const Type* find(HcclDataType type) {
    const auto* end = std::end(kTypes);
    const auto* found = std::find_if(std::begin(kTypes), end, [type](const Type& each) { return each.type == type; });
    return found == end ? nullptr : found;
}

// How a type is calculated with: as itself, or as float where it is a 16-bit float.
template <class Stored>
struct Plain {
    using Value = Stored;
    static Value read(Stored stored) { return stored; }
    static Stored write(Value value) { return value; }
};

struct Float16 {
    using Value = float;
    static Value read(uint16_t bits) { return float16_to_float(bits); }
    static uint16_t write(Value value) { return float_to_float16(value); }
};

struct BFloat16 {
    using Value = float;
    static Value read(uint16_t bits) { return bfloat16_to_float(bits); }
    static uint16_t write(Value value) { return float_to_bfloat16(value); }
};

template <class Value>
Value combine(Value left, Value right, HcclReduceOp op) {
    switch (op) {
        case HCCL_REDUCE_SUM: return static_cast<Value>(left + right);
        case HCCL_REDUCE_PROD: return static_cast<Value>(left * right);
        case HCCL_REDUCE_MAX: return std::max(left, right);
        case HCCL_REDUCE_MIN: return std::min(left, right);
        default: throw std::logic_error("not a reduction");
    }
}

template <class Codec, class Stored>
void reduce_as(void* accumulated, const void* other, size_t count, HcclReduceOp op) {
    auto* into = static_cast<Stored*>(accumulated);
    const auto* from = static_cast<const Stored*>(other);
    for (size_t i = 0; i < count; i++) {
        into[i] = Codec::write(combine<typename Codec::Value>(Codec::read(into[i]), Codec::read(from[i]), op));
    }
}

}  // namespace

size_t bytes_of(HcclDataType type) { return find(type) ? find(type)->bytes : 0; }
const char* name_of(HcclDataType type) { return find(type) ? find(type)->name : "unknown type"; }
bool can_reduce(HcclDataType type) { return find(type) && find(type)->reducible; }
bool is_reduction(HcclReduceOp op) { return op >= HCCL_REDUCE_SUM && op <= HCCL_REDUCE_MIN; }

void reduce(void* accumulated, const void* other, size_t count, HcclDataType type, HcclReduceOp op) {
    switch (type) {
        case HCCL_DATA_TYPE_INT8: return reduce_as<Plain<int8_t>, int8_t>(accumulated, other, count, op);
        case HCCL_DATA_TYPE_INT16: return reduce_as<Plain<int16_t>, int16_t>(accumulated, other, count, op);
        case HCCL_DATA_TYPE_INT32: return reduce_as<Plain<int32_t>, int32_t>(accumulated, other, count, op);
        case HCCL_DATA_TYPE_INT64: return reduce_as<Plain<int64_t>, int64_t>(accumulated, other, count, op);
        case HCCL_DATA_TYPE_FP32: return reduce_as<Plain<float>, float>(accumulated, other, count, op);
        case HCCL_DATA_TYPE_FP16: return reduce_as<Float16, uint16_t>(accumulated, other, count, op);
        case HCCL_DATA_TYPE_BFP16: return reduce_as<BFloat16, uint16_t>(accumulated, other, count, op);
        default: throw std::logic_error("not a type that can be reduced");
    }
}

}  // namespace cann_sim::collectives
