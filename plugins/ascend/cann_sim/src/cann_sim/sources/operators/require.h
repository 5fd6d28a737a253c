// How a limit is written: a condition, its source, and the sentence with the values that break it.
//
// Sources are pages of the CANN operator library (hiascend.com, "CANN 8.5.0, aclnn API"; the same texts lie in gitcode.com/cann/ops-transformer
// and cann/ops-nn under <operator>/docs), docstrings of torch_npu 2.13.0 (torch_npu/_op_plugin_docs.py), and reports of users.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <sstream>

#include "limits.h"

namespace cann_sim::limits {

template <class... Parts>
inline void require(bool holds, const char* source, const Parts&... parts) {
    if (holds) return;
    std::ostringstream message;
    (message << ... << parts);
    message << " [limit of the real operator; source: " << source << "]";
    throw LimitError(message.str());
}

inline bool one_of(at::ScalarType type, std::initializer_list<at::ScalarType> allowed) {
    return std::find(allowed.begin(), allowed.end(), type) != allowed.end();
}

inline void require_dtype(const char* what, const Tensor& x, std::initializer_list<at::ScalarType> allowed, const char* source) {
    require(one_of(x.scalar_type(), allowed), source, what, " has the dtype ", x.scalar_type(), "; allowed: ", at::ArrayRef(allowed));
}

inline void require_same_dtype(const char* what, const Tensor& x, const Tensor& like, const char* source) {
    require(x.scalar_type() == like.scalar_type(), source, what, " has the dtype ", x.scalar_type(), ", not ", like.scalar_type());
}

inline void require_contiguous(const char* what, const Tensor& x, const char* source) {
    require(x.is_contiguous(), source, what, " is not contiguous: shape ", x.sizes(), ", strides ", x.strides());
}

inline void require_dims(const char* what, const Tensor& x, int64_t low, int64_t high, const char* source) {
    require(low <= x.dim() && x.dim() <= high, source, what, " has ", x.dim(), " dimensions; allowed: ", low, " to ", high);
}

inline constexpr std::initializer_list<at::ScalarType> kFloats{at::kHalf, at::kBFloat16, at::kFloat};

}  // namespace cann_sim::limits
