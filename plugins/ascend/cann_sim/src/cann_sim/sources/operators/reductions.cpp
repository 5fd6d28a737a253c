// Operators that reduce or accumulate along dimensions: sums, means, extremes, norms, logical reductions, scans.
#include <ATen/ATen.h>

#include "operator.h"

using namespace cann_sim;

namespace {


void write_both(const Tensor& values_out, const Tensor& indices_out, std::tuple<Tensor, Tensor> result) {
    write(values_out, std::get<0>(result));
    write(indices_out, std::get<1>(result));
}

}  // namespace

OPERATOR(aclnnReduceSum, [](Tensor x, Ints dims, bool keep, aclDataType dtype, Tensor out) {
    write(out, at::sum(x, dims, keep, scalar_type(dtype)));
})
OPERATOR(aclnnReduceNansum, [](Tensor x, Ints dims, bool keep, aclDataType dtype, Tensor out) {
    write(out, at::nansum(x, dims, keep, scalar_type(dtype)));
})
OPERATOR(aclnnMean, [](Tensor x, Ints dims, bool keep, aclDataType dtype, Tensor out) {
    write(out, at::mean(x, dims, keep, scalar_type(dtype)));
})
OPERATOR(aclnnMeanV2, [](Tensor x, Ints dims, bool keep, bool, Tensor out) { write(out, at::mean(x, dims, keep)); })
OPERATOR(aclnnProd, [](Tensor x, aclDataType dtype, Tensor out) { write(out, at::prod(x, scalar_type(dtype))); })
OPERATOR(aclnnProdDim, [](Tensor x, int64_t dim, bool keep, aclDataType dtype, Tensor out) {
    write(out, at::prod(x, dim, keep, scalar_type(dtype)));
})

OPERATOR(aclnnAmax, [](Tensor x, Ints dims, bool keep, Tensor out) { write(out, at::amax(x, dims, keep)); })
OPERATOR(aclnnAmin, [](Tensor x, Ints dims, bool keep, Tensor out) { write(out, at::amin(x, dims, keep)); })
OPERATOR(aclnnMax, [](Tensor x, Tensor out) { write(out, at::max(x)); })
OPERATOR(aclnnMin, [](Tensor x, Tensor out) { write(out, at::min(x)); })
OPERATOR(aclnnMaxDim, [](Tensor x, int64_t dim, bool keep, Tensor out, Tensor index) { write_both(out, index, at::max(x, dim, keep)); })
OPERATOR(aclnnMinDim, [](Tensor x, int64_t dim, bool keep, Tensor out, Tensor index) { write_both(out, index, at::min(x, dim, keep)); })
OPERATOR(aclnnArgMax, [](Tensor x, int64_t dim, bool keep, Tensor out) { write(out, at::argmax(x, dim, keep)); })
OPERATOR(aclnnArgMin, [](Tensor x, int64_t dim, bool keep, Tensor out) { write(out, at::argmin(x, dim, keep)); })

OPERATOR(aclnnAll, [](Tensor x, Ints dims, bool keep, Tensor out) { write(out, at::all(x.to(at::kBool), dims, keep)); })
OPERATOR(aclnnAny, [](Tensor x, Ints dims, bool keep, Tensor out) { write(out, at::any(x.to(at::kBool), dims, keep)); })

OPERATOR(aclnnVar, [](Tensor x, Ints dims, bool unbiased, bool keep, Tensor out) { write(out, at::var(x, dims, unbiased, keep)); })
OPERATOR(aclnnVarCorrection, [](Tensor x, Ints dims, int64_t correction, bool keep, Tensor out) {
    write(out, at::var(x, dims, Scalar(correction), keep));
})
OPERATOR(aclnnStd, [](Tensor x, Ints dims, int64_t correction, bool keep, Tensor out) {
    write(out, at::std(x, dims, Scalar(correction), keep));
})
OPERATOR(aclnnNorm, [](Tensor x, Scalar p, Ints dims, bool keep, Tensor out) { write(out, at::norm(x, p, dims, keep)); })
OPERATOR(aclnnLinalgVectorNorm, [](Tensor x, Scalar p, Ints dims, bool keep, aclDataType dtype, Tensor out) {
    write(out, at::linalg_vector_norm(x, p, dims, keep, scalar_type(dtype)));
})
OPERATOR(aclnnLogSumExp, [](Tensor x, Ints dims, bool keep, Tensor out) { write(out, at::logsumexp(x, dims, keep)); })

OPERATOR(aclnnCumsum, [](Tensor x, int64_t dim, aclDataType dtype, Tensor out) { write(out, at::cumsum(x, dim, scalar_type(dtype))); })
OPERATOR(aclnnCumprod, [](Tensor x, Scalar dim, aclDataType dtype, Tensor out) {
    write(out, at::cumprod(x, dim.toLong(), scalar_type(dtype)));
})
OPERATOR(aclnnCummax, [](Tensor x, int64_t dim, Tensor out, Tensor index) { write_both(out, index, at::cummax(x, dim)); })
OPERATOR(aclnnCummin, [](Tensor x, int64_t dim, Tensor out, Tensor index) { write_both(out, index, at::cummin(x, dim)); })
OPERATOR(aclnnBincount, [](Tensor x, OptionalTensor weights, int64_t min_length, Tensor out) {
    write(out, at::bincount(x, weights, min_length).slice(0, 0, out.numel()));
})
