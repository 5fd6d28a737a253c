// Matrix products, with the right operand in ND or FRACTAL_NZ. The last argument of most is the precision mode of the cube unit,
// which makes no difference here.
#include <ATen/ATen.h>

#include "limits.h"
#include "operator.h"

using namespace cann_sim;

OPERATOR(aclnnMm, [](Tensor a, Tensor b, Tensor out, int8_t) { write(out, at::mm(a, b)); })
OPERATOR(aclnnMatmul, [](Tensor a, Tensor b, Tensor out, int8_t) { write(out, at::matmul(a, b)); })
OPERATOR(aclnnBatchMatMul, [](Tensor a, Tensor b, Tensor out, int8_t) { write(out, at::matmul(a, b)); })
OPERATOR(aclnnMv, [](Tensor a, Tensor v, Tensor out, int8_t) { write(out, at::mv(a, v)); })
OPERATOR(aclnnDot, [](Tensor a, Tensor b, Tensor out) { write(out, at::dot(a, b)); })
OPERATOR(aclnnAddmm, [](Tensor c, Tensor a, Tensor b, Scalar beta, Scalar alpha, Tensor out, int8_t) {
    write(out, at::addmm(c, a, b, beta, alpha));
})
OPERATOR(aclnnInplaceAddmm, [](Tensor c, Tensor a, Tensor b, Scalar beta, Scalar alpha, int8_t) {
    write(c, at::addmm(c, a, b, beta, alpha));
})
OPERATOR(aclnnBaddbmm, [](Tensor c, Tensor a, Tensor b, Scalar beta, Scalar alpha, Tensor out, int8_t) {
    write(out, at::baddbmm(c, a, b, beta, alpha));
})
OPERATOR(aclnnAddmv, [](Tensor c, Tensor a, Tensor v, Scalar alpha, Scalar beta, Tensor out, int8_t) {
    write(out, at::addmv(c, a, v, beta, alpha));
})

OPERATOR(aclnnMatmulWeightNz, [](Tensor x, FormattedTensor weight, Tensor out, int8_t) -> Work {
    limits::matmul_weight_nz(x, weight.view);
    return [=] { write(out, at::matmul(x, weight.view)); };
})
OPERATOR(aclnnBatchMatMulWeightNz, [](Tensor x, FormattedTensor weight, Tensor out, int8_t) -> Work {
    limits::matmul_weight_nz(x, weight.view);
    return [=] { write(out, at::matmul(x, weight.view)); };
})
OPERATOR(aclnnAddmmWeightNz, [](Tensor c, Tensor x, FormattedTensor weight, Scalar beta, Scalar alpha, Tensor out, int8_t) -> Work {
    limits::matmul_weight_nz(x, weight.view);
    return [=] { write(out, at::addmm(c, x, weight.view, beta, alpha)); };
})
