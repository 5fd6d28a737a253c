// Operators of samplers: sorting, the best k, and the fused top-k/top-p filter.
#include <ATen/ATen.h>

#include <limits>

#include "limits.h"
#include "operator.h"

using namespace cann_sim;

namespace {

constexpr double kExcluded = -std::numeric_limits<double>::infinity();

// Everything below the k-th largest of a row that is sorted in ascending order.
Tensor below_top_k(const Tensor& sorted, const Tensor& k) {
    const Tensor position = (sorted.size(1) - k.to(at::kLong)).unsqueeze(1);
    return sorted < sorted.gather(1, position);
}

// The unlikely tail that holds at most 1 - p of the probability; the last, most likely one always stays.
Tensor below_top_p(const Tensor& sorted, const Tensor& p) {
    const Tensor total = at::cumsum(at::softmax(sorted, -1, at::kFloat), -1);
    const Tensor tail = total <= (1 - p.to(at::kFloat)).unsqueeze(1);
    tail.select(1, -1).fill_(false);
    return tail;
}

}  // namespace

OPERATOR(aclnnTopk, [](Tensor x, int64_t k, int64_t dim, bool largest, bool sorted, Tensor out, Tensor index) {
    const auto [values, indices] = at::topk(x, k, dim, largest, sorted);
    write(out, values);
    write(index, indices);
})
OPERATOR(aclnnSort, [](Tensor x, bool stable, int64_t dim, bool descending, Tensor out, Tensor index) {
    const auto [values, indices] = at::sort(x, stable, dim, descending);
    write(out, values);
    write(index, indices);
})
OPERATOR(aclnnKthvalue, [](Tensor x, int64_t k, int64_t dim, bool keep, Tensor out, Tensor index) {
    const auto [values, indices] = at::kthvalue(x, k, dim, keep);
    write(out, values);
    write(index, indices);
})

OPERATOR(aclnnApplyTopKTopP, [](Tensor logits, OptionalTensor p, OptionalTensor k, Tensor out) -> Work {
    limits::top_k_top_p(logits, p, k);
    return [=] {
        auto [sorted, index] = at::sort(logits, /*stable=*/true, -1, /*descending=*/false);
        if (k) sorted = sorted.masked_fill(below_top_k(sorted, *k), kExcluded);
        if (p) sorted = sorted.masked_fill(below_top_p(sorted, *p), kExcluded);
        write(out, at::scatter(logits, 1, index, sorted));
    };
})
