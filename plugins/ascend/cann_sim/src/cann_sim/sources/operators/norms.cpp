// Softmax and the norms: layer norm, RMS norm, and RMS norm fused with the residual's addition.
#include <ATen/ATen.h>

#include "limits.h"
#include "norms.h"
#include "operator.h"

namespace cann_sim {

// The real kernels compute in float32 and round once at the end.
Normed rms_norm(const Tensor& x, const Tensor& gamma, double epsilon) {
    const Tensor x_float = x.to(at::kFloat);
    Ints dims(gamma.dim());
    for (int64_t i = 0; i < gamma.dim(); i++) dims[i] = i - gamma.dim();
    const Tensor rstd = at::rsqrt(at::mean(at::square(x_float), dims, /*keepdim=*/true) + epsilon);
    return {(x_float * rstd * gamma.to(at::kFloat)).to(x.scalar_type()), rstd};
}

}  // namespace cann_sim

using namespace cann_sim;

OPERATOR(aclnnSoftmax, [](Tensor x, int64_t dim, Tensor out) { write(out, at::softmax(x, dim, out.scalar_type())); })
OPERATOR(aclnnLogSoftmax, [](Tensor x, int64_t dim, Tensor out) { write(out, at::log_softmax(x, dim, out.scalar_type())); })

OPERATOR(aclnnLayerNorm, [](Tensor x, Ints shape, OptionalTensor weight, OptionalTensor bias, double epsilon, Tensor out,
                            OptionalTensor mean_out, OptionalTensor rstd_out) {
    const auto [y, mean, rstd] = at::native_layer_norm(x, shape, weight, bias, epsilon);
    write(out, y);
    write(mean_out, mean);
    write(rstd_out, rstd);
})

OPERATOR(aclnnRmsNorm, [](Tensor x, Tensor gamma, double epsilon, Tensor out, OptionalTensor rstd_out) -> Work {
    limits::rms_norm(x, gamma);
    return [=] {
        const Normed normed = rms_norm(x, gamma, epsilon);
        write(out, normed.y);
        write(rstd_out, normed.rstd);
    };
})

// Norms the sum; the sum is a result of its own, rounded to the inputs' dtype before it is normed.
OPERATOR(aclnnAddRmsNorm, [](Tensor x1, Tensor x2, Tensor gamma, double epsilon, Tensor out, OptionalTensor rstd_out, Tensor sum_out) -> Work {
    limits::add_rms_norm(x1, x2, gamma);
    return [=] {
        const Tensor sum = x1 + x2;
        const Normed normed = rms_norm(sum, gamma, epsilon);
        write(sum_out, sum);
        write(out, normed.y);
        write(rstd_out, normed.rstd);
    };
})
// Writes the normed value into x1 and the sum into x2.
OPERATOR(aclnnInplaceAddRmsNorm, [](Tensor x1, Tensor x2, Tensor gamma, double epsilon, OptionalTensor rstd_out) -> Work {
    limits::add_rms_norm(x1, x2, gamma);
    return [=] {
        const Tensor sum = x1 + x2;
        const Normed normed = rms_norm(sum, gamma, epsilon);
        write(x1, normed.y);
        write(x2, sum);
        write(rstd_out, normed.rstd);
    };
})

// Gemma's weights are stored as their distance from one.
OPERATOR(aclnnGemmaRmsNorm, [](Tensor x, Tensor gamma, double epsilon, Tensor out, OptionalTensor rstd_out) -> Work {
    limits::rms_norm(x, gamma);
    return [=] {
        const Normed normed = rms_norm(x, gamma.to(at::kFloat) + 1, epsilon);
        write(out, normed.y);
        write(rstd_out, normed.rstd);
    };
})
