// Owns a launch: copies of the arguments, error codes, and the torch state that kernels on a stream's thread run under.
#include "operator.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "../common/simulator.h"
#include "limits.h"

namespace cann_sim {
namespace {

// Codes of the page "aclnn return codes" of CANN's operator documentation.
constexpr int kParameterInvalid = 161002;
constexpr int kInnerError = 561002;

const aclTensor& present(const aclTensor* handle) {
    TORCH_CHECK(handle != nullptr, "a tensor that the operator needs is null");
    return *handle;
}

const Tensor& in_base_format(const aclTensor& handle) {
    if (handle.format == ACL_FORMAT_FRACTAL_NZ) {
        throw LimitError("a tensor is in the format FRACTAL_NZ, but this operator takes ND: torch_npu.npu_format_cast(tensor, 2)");
    }
    return handle.view;
}

FormattedTensor formatted(const aclTensor& handle) { return {handle.view, handle.format}; }

// Kernels are plain CPU code: no autograd, no inference mode, and none of the Python layers of the thread that happened to launch.
struct PlainCpu {
    c10::InferenceMode no_inference{false};
    at::AutoDispatchBelowAutograd below_autograd;
    c10::impl::ExcludeDispatchKeyGuard no_python{
            c10::DispatchKeySet({c10::DispatchKey::Python, c10::DispatchKey::PythonTLSSnapshot, c10::DispatchKey::PythonDispatcher})};
};

template <class T, class Handle, class Convert>
std::vector<T> each(const std::vector<Handle>& handles, Convert convert) {
    std::vector<T> copies;
    copies.reserve(handles.size());
    for (const auto& handle : handles) copies.push_back(convert(handle));
    return copies;
}

}  // namespace

Tensor Argument<Tensor>::copy(C handle) { return in_base_format(present(handle)); }

OptionalTensor Argument<OptionalTensor>::copy(C handle) {
    return handle ? OptionalTensor(in_base_format(*handle)) : std::nullopt;
}

FormattedTensor Argument<FormattedTensor>::copy(C handle) { return formatted(present(handle)); }

std::optional<FormattedTensor> Argument<std::optional<FormattedTensor>>::copy(C handle) {
    return handle ? std::optional(formatted(*handle)) : std::nullopt;
}

SizedByData Argument<SizedByData>::copy(C handle) { return {present(handle).view, handle->result_shape}; }

TensorList Argument<TensorList>::copy(C handle) {
    return handle ? each<Tensor>(handle->tensors, Argument<Tensor>::copy) : TensorList();
}

OptionalTensorList Argument<OptionalTensorList>::copy(C handle) {
    return handle ? each<OptionalTensor>(handle->tensors, Argument<OptionalTensor>::copy) : OptionalTensorList();
}

std::vector<FormattedTensor> Argument<std::vector<FormattedTensor>>::copy(C handle) {
    return handle ? each<FormattedTensor>(handle->tensors, Argument<FormattedTensor>::copy) : std::vector<FormattedTensor>();
}

Scalar Argument<Scalar>::copy(C handle) {
    TORCH_CHECK(handle != nullptr, "a scalar that the operator needs is null");
    return handle->value;
}

ScalarList Argument<ScalarList>::copy(C handle) {
    return handle ? each<Scalar>(handle->scalars, Argument<Scalar>::copy) : ScalarList();
}

uint64_t bytes_of(const aclTensor* handle) { return handle ? handle->view.nbytes() : 0; }

uint64_t bytes_of(const aclTensorList* handle) {
    uint64_t bytes = 0;
    if (handle) {
        for (const aclTensor* tensor : handle->tensors) bytes += bytes_of(tensor);
    }
    return bytes;
}

int prepare_launch(const char* name, uint64_t bytes, uint64_t* workspace_size, aclOpExecutor** executor,
                   const std::function<Work()>& prepare) {
    try {
        const PlainCpu guard;
        *executor = new aclOpExecutor{name, bytes, prepare()};
        *workspace_size = 0;
        return 0;
    } catch (const LimitError& error) {
        return report(kParameterInvalid, std::string(name) + ": " + error.what());
    } catch (const std::exception& error) {
        return report(kInnerError, std::string(name) + ": " + error.what());
    }
}

int launch(aclOpExecutor* executor, aclrtStream stream) {
    const std::unique_ptr<aclOpExecutor> owned(executor);
    return enqueue(stream, {owned->name, owned->bytes}, [work = std::move(owned->work)] {
        const PlainCpu guard;
        work();
    });
}

void write(const Tensor& out, const Tensor& value) {
    if (out.sizes() == value.sizes() || value.numel() == 1) {
        out.copy_(value);
    } else {
        TORCH_CHECK(out.numel() == value.numel(), "a result of shape ", value.sizes(), " does not fit the output of shape ", out.sizes());
        out.copy_(value.reshape(out.sizes()));
    }
}

void write(const OptionalTensor& out, const Tensor& value) {
    if (out.has_value()) write(*out, value);
}

}  // namespace cann_sim
