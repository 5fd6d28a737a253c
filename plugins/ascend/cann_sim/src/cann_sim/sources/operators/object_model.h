// Owns what lies behind the opaque handles of the aclnn interface: tensors, scalars, arrays, lists and executors.
//
// torch_npu creates these handles for one call and destroys them soon after it, long before the stream reaches the work. So every
// operator copies what it needs while its workspace size is asked for (see operator.h); nothing here outlives the call.
#pragma once
#include <acl/acl.h>

#include <ATen/core/Tensor.h>
#include <c10/core/Scalar.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

using Shape = std::vector<int64_t>;

struct aclTensor {
    at::Tensor view;  // shape and strides that torch sees, over the host's alias of the device memory
    aclDataType dtype;
    aclFormat format;
    std::shared_ptr<Shape> result_shape;  // set by operators whose result's size depends on data, while they run
};

struct aclScalar {
    at::Scalar value;
};

struct aclIntArray {
    std::vector<int64_t> values;
};

struct aclFloatArray {
    std::vector<float> values;
};

struct aclBoolArray {
    std::vector<bool> values;
};

struct aclTensorList {
    std::vector<const aclTensor*> tensors;
};

struct aclScalarList {
    std::vector<const aclScalar*> scalars;
};

struct aclOpExecutor {
    const char* name;
    uint64_t bytes;  // of all its tensors, for the counters
    std::function<void()> work;  // runs once per launch; a captured launch is replayed many times
};

namespace cann_sim {

using Tensor = at::Tensor;
using Scalar = at::Scalar;
using OptionalTensor = std::optional<at::Tensor>;
using TensorList = std::vector<at::Tensor>;
using OptionalTensorList = std::vector<std::optional<at::Tensor>>;
using OptionalScalar = std::optional<at::Scalar>;
using Ints = std::vector<int64_t>;
using OptionalInts = std::optional<std::vector<int64_t>>;
using ScalarList = std::vector<at::Scalar>;
using Work = std::function<void()>;

// A tensor that may be in FRACTAL_NZ, for operators that take it (formats.h); every other parameter refuses that format.
struct FormattedTensor {
    Tensor view;
    aclFormat format;
};

// A result whose size depends on data. The memory has room for the largest; the real shape is told through aclGetViewShape.
struct SizedByData {
    Tensor room;
    std::shared_ptr<Shape> shape;
    void set(const Tensor& value) const;
};

at::ScalarType scalar_type(aclDataType dtype);

}  // namespace cann_sim
