// Activation functions, alone and fused with the gate's product.
#include <ATen/ATen.h>

#include "limits.h"
#include "operator.h"

using namespace cann_sim;

OPERATOR(aclnnSilu, [](Tensor x, Tensor out) { write(out, at::silu(x)); })
// torch_npu sends both of torch's forms here and drops `approximate`. Which one the kernel computes is a guess: no page says it.
OPERATOR(aclnnGelu, [](Tensor x, Tensor out) { write(out, at::gelu(x, "tanh")); })
OPERATOR(aclnnGeluV2, [](Tensor x, int64_t approximate, Tensor out) { write(out, at::gelu(x, approximate ? "tanh" : "none")); })
OPERATOR(aclnnFastGelu, [](Tensor x, Tensor out) { write(out, x * at::sigmoid(x * 1.702)); })
OPERATOR(aclnnSoftplus, [](Tensor x, Scalar beta, Scalar threshold, Tensor out) { write(out, at::softplus(x, beta, threshold)); })
OPERATOR(aclnnLeakyRelu, [](Tensor x, Scalar slope, Tensor out) { write(out, at::leaky_relu(x, slope)); })
OPERATOR(aclnnHardswish, [](Tensor x, Tensor out) { write(out, at::hardswish(x)); })
OPERATOR(aclnnHardsigmoid, [](Tensor x, Tensor out) { write(out, at::hardsigmoid(x)); })
OPERATOR(aclnnGlu, [](Tensor x, int64_t dim, Tensor out) { write(out, at::glu(x, dim)); })

OPERATOR(aclnnSwiGlu, [](Tensor x, int64_t dim, Tensor out) -> Work {
    limits::swiglu(x, dim);
    return [=] {
        const auto halves = x.to(at::kFloat).chunk(2, dim);
        write(out, at::silu(halves[0]) * halves[1]);
    };
})
