// Owns how an aclnn operator is written: OPERATOR(aclnnName, lambda) exports aclnnNameGetWorkspaceSize and aclnnName.
//
// torch_npu looks both up by name and calls them through casts of its own, so the C signature must fit exactly. It is derived from
// the lambda: each parameter's type says which C type comes in and how to copy it (Argument<> below). The lambda either is the
// work itself (returns void; runs on the stream), or prepares it (returns Work): then it runs when the workspace size is asked for,
// where the real operators check their arguments, and what it returns runs on the stream. Work is a pure function of
// its copies: a captured launch is replayed many times.
#pragma once
#include <tuple>
#include <type_traits>
#include <utility>

#include "object_model.h"

namespace cann_sim {

// What the operator is called with in C, and its own copy.
template <class T>
struct Argument {
    using C = T;
    static T copy(T value) { return value; }
};
template <>
struct Argument<Tensor> {
    using C = const aclTensor*;
    static Tensor copy(C handle);
};
template <>
struct Argument<OptionalTensor> {
    using C = const aclTensor*;
    static OptionalTensor copy(C handle);
};
template <>
struct Argument<FormattedTensor> {
    using C = const aclTensor*;
    static FormattedTensor copy(C handle);
};
template <>
struct Argument<std::optional<FormattedTensor>> {
    using C = const aclTensor*;
    static std::optional<FormattedTensor> copy(C handle);
};
template <>
struct Argument<SizedByData> {
    using C = const aclTensor*;
    static SizedByData copy(C handle);
};
template <>
struct Argument<TensorList> {
    using C = const aclTensorList*;
    static TensorList copy(C handle);
};
template <>
struct Argument<OptionalTensorList> {
    using C = const aclTensorList*;
    static OptionalTensorList copy(C handle);
};
template <>
struct Argument<std::vector<FormattedTensor>> {
    using C = const aclTensorList*;
    static std::vector<FormattedTensor> copy(C handle);
};
template <>
struct Argument<Scalar> {
    using C = const aclScalar*;
    static Scalar copy(C handle);
};
template <>
struct Argument<OptionalScalar> {
    using C = const aclScalar*;
    static OptionalScalar copy(C handle) { return handle ? OptionalScalar(handle->value) : std::nullopt; }
};
template <>
struct Argument<ScalarList> {
    using C = const aclScalarList*;
    static ScalarList copy(C handle);
};
template <>
struct Argument<Ints> {
    using C = const aclIntArray*;
    static Ints copy(C handle) { return handle ? handle->values : Ints(); }
};
template <>
struct Argument<OptionalInts> {
    using C = const aclIntArray*;
    static OptionalInts copy(C handle) { return handle ? OptionalInts(handle->values) : std::nullopt; }
};
template <>
struct Argument<std::string> {
    using C = const char*;
    static std::string copy(C text) { return text ? std::string(text) : std::string(); }
};

// For the counters: only tensors have bytes.
uint64_t bytes_of(const aclTensor* handle);
uint64_t bytes_of(const aclTensorList* handle);
template <class Other>
uint64_t bytes_of(const Other&) {
    return 0;
}

// Runs `prepare`, which checks and builds the work; an exception becomes an aclnn error code and the recent error message.
int prepare_launch(const char* name, uint64_t bytes, uint64_t* workspace_size, aclOpExecutor** executor,
                   const std::function<Work()>& prepare);
// Hands the work to the stream and frees the executor.
int launch(aclOpExecutor* executor, aclrtStream stream);

template <class Name, class Kernel, class Signature>
struct Entry;

template <class Name, class Kernel, class Class, class Result, class... Arguments>
struct Entry<Name, Kernel, Result (Class::*)(Arguments...) const> {
    static int get_workspace_size(typename Argument<Arguments>::C... handles, uint64_t* workspace_size, aclOpExecutor** executor) {
        const uint64_t bytes = (uint64_t{0} + ... + bytes_of(handles));
        return prepare_launch(Name::text, bytes, workspace_size, executor, [&]() -> Work {
            auto copies = std::tuple<Arguments...>{Argument<Arguments>::copy(handles)...};
            if constexpr (std::is_void_v<Result>) {
                return [copies = std::move(copies)] { std::apply(Kernel{}, copies); };
            } else {
                return std::apply(Kernel{}, std::move(copies));
            }
        });
    }
};

// Writes a result into device memory, in the result's dtype; a result of another shape but as many elements is reshaped.
void write(const Tensor& out, const Tensor& value);
void write(const OptionalTensor& out, const Tensor& value);

}  // namespace cann_sim

// The exported symbol's type is not its C signature, which only the compiler knows: an indirect function (ELF ifunc) is the one way
// to give a template's instance a C name without writing the signature a second time.
#define OPERATOR(NAME, ...)                                                                                                        \
    namespace {                                                                                                                    \
    constexpr auto NAME##_kernel = __VA_ARGS__;                                                                                    \
    struct NAME##_name {                                                                                                           \
        static constexpr const char* text = #NAME;                                                                                 \
    };                                                                                                                             \
    }                                                                                                                              \
    extern "C" void (*NAME##_resolve())() {                                                                                        \
        using Kernel = std::remove_const_t<decltype(NAME##_kernel)>;                                                               \
        return reinterpret_cast<void (*)()>(&cann_sim::Entry<NAME##_name, Kernel, decltype(&Kernel::operator())>::get_workspace_size);\
    }                                                                                                                              \
    extern "C" __attribute__((visibility("default"), ifunc(#NAME "_resolve"))) void NAME##GetWorkspaceSize();                      \
    extern "C" __attribute__((visibility("default"))) int NAME(void*, uint64_t, aclOpExecutor* executor, aclrtStream stream) {     \
        return cann_sim::launch(executor, stream);                                                                                 \
    }

// Graph capture asks some operators for the largest workspace of any later lengths; here every workspace is empty.
#define MAX_WORKSPACE_SIZE(NAME)                                                                                                   \
    extern "C" __attribute__((visibility("default"), ifunc(#NAME "_resolve"))) void NAME##GetMaxWorkspaceSize();
