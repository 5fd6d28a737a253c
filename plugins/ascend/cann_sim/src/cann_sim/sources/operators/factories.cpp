// Operators that make tensors from numbers: ranges, identity, random numbers.
//
// Random numbers are not those of the device, which uses a Philox generator of its own: only the seed and offset that torch_npu
// hands over are used, so that the same seed gives the same numbers, and each call other ones.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "operator.h"

using namespace cann_sim;

namespace {

at::Generator generator(uint64_t seed, uint64_t offset) { return at::detail::createCPUGenerator(seed * 0x9E3779B97F4A7C15u + offset); }

// The last element may be missing or too many by rounding: the size that torch_npu computed counts.
Tensor first_elements(const Tensor& values, const Tensor& out) { return values.slice(0, 0, out.numel()); }

}  // namespace

OPERATOR(aclnnArange, [](Scalar start, Scalar end, Scalar step, Tensor out) {
    write(out, first_elements(at::arange(start, end, step, out.options()), out));
})
OPERATOR(aclnnRange, [](Scalar start, Scalar end, Scalar step, Tensor out) {
    write(out, first_elements(at::range(start, end, step, out.options()), out));
})
OPERATOR(aclnnLinspace, [](Scalar start, Scalar end, int64_t steps, Tensor out) {
    write(out, at::linspace(start, end, steps, out.options()));
})
OPERATOR(aclnnEye, [](int64_t rows, int64_t columns, Tensor out) { write(out, at::eye(rows, columns, out.options())); })

OPERATOR(aclnnInplaceNormal, [](Tensor x, float mean, float std, int64_t seed, int64_t offset) {
    x.normal_(mean, std, generator(seed, offset));
})
OPERATOR(aclnnInplaceUniform, [](Tensor x, double low, double high, uint64_t seed, uint64_t offset) {
    x.uniform_(low, high, generator(seed, offset));
})
OPERATOR(aclnnInplaceRandom, [](Tensor x, int64_t low, int64_t high, int64_t seed, int64_t offset) {
    x.random_(low, high, generator(seed, offset));
})
OPERATOR(aclnnInplaceBernoulli, [](Tensor x, Scalar p, int64_t seed, int64_t offset) {
    x.bernoulli_(p.toDouble(), generator(seed, offset));
})
OPERATOR(aclnnInplaceBernoulliTensor, [](Tensor x, Tensor p, int64_t seed, int64_t offset) {
    x.bernoulli_(p, generator(seed, offset));
})
OPERATOR(aclnnRandperm, [](int64_t n, int64_t seed, int64_t offset, Tensor out) {
    write(out, at::randperm(n, generator(seed, offset), out.options()));
})
OPERATOR(aclnnMultinomial, [](Tensor x, int64_t num_samples, bool replacement, int64_t seed, int64_t offset, Tensor out) {
    write(out, at::multinomial(x, num_samples, replacement, generator(seed, offset)));
})
// One exponential number per element; torch_npu asks for it under the second name where it is available.
OPERATOR(aclnnInplaceExponential, [](Tensor x, double lambda, uint64_t seed, uint64_t offset) {
    x.exponential_(lambda, generator(seed, offset));
})
OPERATOR(aclnnSimThreadExponential, [](Tensor x, int64_t, double lambda, int64_t seed, int64_t offset) {
    x.exponential_(lambda, generator(seed, offset));
})
