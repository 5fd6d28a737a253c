// Owns the creation and destruction of aclnn handles: the C functions that torch_npu looks up in libopapi.
#include "object_model.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include "../common/simulator.h"

namespace cann_sim {

at::ScalarType scalar_type(aclDataType dtype) {
    switch (dtype) {
        case ACL_FLOAT: return at::kFloat;
        case ACL_FLOAT16: return at::kHalf;
        case ACL_BF16: return at::kBFloat16;
        case ACL_DOUBLE: return at::kDouble;
        case ACL_INT8: return at::kChar;
        case ACL_INT16: return at::kShort;
        case ACL_INT32: return at::kInt;
        case ACL_INT64: return at::kLong;
        case ACL_UINT8: return at::kByte;
        case ACL_UINT16: return at::kUInt16;
        case ACL_UINT32: return at::kUInt32;
        case ACL_UINT64: return at::kUInt64;
        case ACL_BOOL: return at::kBool;
        case ACL_COMPLEX64: return at::kComplexFloat;
        case ACL_COMPLEX128: return at::kComplexDouble;
        case ACL_FLOAT8_E4M3FN: return at::kFloat8_e4m3fn;
        case ACL_FLOAT8_E5M2: return at::kFloat8_e5m2;
        default: TORCH_CHECK(false, "aclDataType ", static_cast<int>(dtype), " is not simulated");
    }
}

void SizedByData::set(const Tensor& value) const {
    TORCH_CHECK(value.numel() <= room.numel(), "a result of ", value.numel(), " elements does not fit the ", room.numel(), " allocated");
    at::from_blob(room.data_ptr(), value.sizes(), room.options()).copy_(value);
    *shape = value.sizes().vec();
}

namespace {

// Device memory as torch sees it may be unreadable from the host (strict mode), so tensors are built over its alias. They are no
// inference tensors, whatever mode the caller is in: kernels write to them on other threads.
Tensor over_device_memory(void* data, int64_t offset, at::IntArrayRef shape, at::IntArrayRef strides, at::ScalarType type) {
    const c10::InferenceMode no_inference(false);
    const auto options = at::TensorOptions().dtype(type);
    if (data == nullptr) return at::empty(shape, options);
    auto* first = static_cast<char*>(data) + offset * static_cast<int64_t>(c10::elementSize(type));
    return at::from_blob(host_alias(first), shape, strides, options);
}

Scalar read_scalar(void* value, aclDataType dtype) {
    return at::from_blob(value, {}, at::TensorOptions().dtype(scalar_type(dtype))).item();
}

}  // namespace
}  // namespace cann_sim

using namespace cann_sim;

CANN_API aclTensor* aclCreateTensor(const int64_t* view_dims, uint64_t num_view_dims, aclDataType dtype, const int64_t* strides,
                                    int64_t offset, aclFormat format, const int64_t*, uint64_t, void* data) {
    const at::IntArrayRef shape(view_dims, num_view_dims), stride(strides, num_view_dims);
    const Tensor view = over_device_memory(data, offset, shape, stride, scalar_type(dtype));
    return new aclTensor{view, dtype, format, std::make_shared<Shape>(shape.vec())};
}

CANN_API int aclDestroyTensor(const aclTensor* tensor) {
    delete tensor;
    return 0;
}

// The caller frees the array with delete[].
CANN_API int aclGetViewShape(const aclTensor* tensor, int64_t** dims, uint64_t* num_dims) {
    const Shape& shape = *tensor->result_shape;
    *num_dims = shape.size();
    *dims = new int64_t[shape.size() + 1];
    std::copy(shape.begin(), shape.end(), *dims);
    return 0;
}

CANN_API aclScalar* aclCreateScalar(void* value, aclDataType dtype) { return new aclScalar{read_scalar(value, dtype)}; }

CANN_API int aclDestroyScalar(const aclScalar* scalar) {
    delete scalar;
    return 0;
}

CANN_API aclIntArray* aclCreateIntArray(const int64_t* values, uint64_t size) { return new aclIntArray{{values, values + size}}; }

CANN_API int aclDestroyIntArray(const aclIntArray* array) {
    delete array;
    return 0;
}

CANN_API aclFloatArray* aclCreateFloatArray(const float* values, uint64_t size) {
    return new aclFloatArray{{values, values + size}};
}

CANN_API int aclDestroyFloatArray(const aclFloatArray* array) {
    delete array;
    return 0;
}

CANN_API aclBoolArray* aclCreateBoolArray(const bool* values, uint64_t size) {
    return new aclBoolArray{std::vector<bool>(values, values + size)};
}

CANN_API int aclDestroyBoolArray(const aclBoolArray* array) {
    delete array;
    return 0;
}

CANN_API aclTensorList* aclCreateTensorList(const aclTensor* const* tensors, uint64_t size) {
    return new aclTensorList{{tensors, tensors + size}};
}

// A list owns its members.
CANN_API int aclDestroyTensorList(const aclTensorList* list) {
    for (const aclTensor* tensor : list->tensors) delete tensor;
    delete list;
    return 0;
}

CANN_API aclScalarList* aclCreateScalarList(const aclScalar* const* scalars, uint64_t size) {
    return new aclScalarList{{scalars, scalars + size}};
}

CANN_API int aclDestroyScalarList(const aclScalarList* list) {
    for (const aclScalar* scalar : list->scalars) delete scalar;
    delete list;
    return 0;
}

CANN_API int aclDestroyAclOpExecutor(aclOpExecutor* executor) {
    delete executor;
    return 0;
}
