// Quantisation to int8 (static, and dynamic per token), quantised matrix products, and norms that end in int8.
#include <ATen/ATen.h>

#include "formats.h"
#include "limits.h"
#include "norms.h"
#include "operator.h"
#include "quantization.h"

namespace cann_sim {

constexpr double kInt8Max = 127;

// scale = max |x| / 127 per token, y = round(x / scale); a row of zeros stays zeros.
DynamicallyQuantised dynamic_quant(const Tensor& x, const OptionalTensor& smooth_scales) {
    const Tensor smoothed = smooth_scales ? x.to(at::kFloat) * smooth_scales->to(at::kFloat) : x.to(at::kFloat);
    const Tensor scale = at::amax(at::abs(smoothed), {-1}, /*keepdim=*/true) / kInt8Max;
    const Tensor rounded = at::round(smoothed / at::where(scale == 0, at::ones({}), scale));
    return {rounded.to(at::kChar), scale.squeeze(-1)};
}

namespace {

// The hardware's 64 bits (aclnnTransQuantParamV2, CANN operator documentation): a float's upper 19 bits below, 9 bits of offset at 37,
// and bit 46 set.
constexpr int64_t kScaleBits = 0xFFFFE000, kOffsetShift = 37, kOffsetBits = 0x1FF, kMark = int64_t{1} << 46;

Tensor packed_parameter(const Tensor& scale, const OptionalTensor& offset) {
    const Tensor bits = scale.to(at::kFloat).contiguous().view(at::kInt).to(at::kLong);
    Tensor packed = at::bitwise_or(at::bitwise_and(bits, kScaleBits), kMark);
    if (!offset) return packed;
    const Tensor whole = at::clamp(at::round(*offset), -256, 255).to(at::kLong);
    return at::bitwise_or(packed, at::bitwise_left_shift(at::bitwise_and(whole, kOffsetBits), kOffsetShift));
}

Tensor unpacked_scale(const Tensor& scale) {
    if (scale.scalar_type() != at::kLong) return scale.to(at::kFloat);
    return at::bitwise_and(scale, kScaleBits).to(at::kInt).view(at::kFloat);
}

Tensor unpacked_offset(const Tensor& scale, const OptionalTensor& offset) {
    if (scale.scalar_type() != at::kLong) return offset ? offset->to(at::kFloat) : at::zeros({1});
    const Tensor bits = at::bitwise_and(at::bitwise_right_shift(scale, kOffsetShift), kOffsetBits);
    return at::where(bits >= 256, bits - 512, bits).to(at::kFloat);
}

void write_rounded_to_int8(const Tensor& out, const Tensor& value) { write(out, at::clamp(at::round(value), -128, 127)); }

// Integers are summed exactly: in float64, whose 53 bits hold every sum of 65535 products, and whose product is fast.
Tensor integer_product(const Tensor& x1, const Tensor& x2) { return at::matmul(x1.to(at::kDouble), x2.to(at::kDouble)); }

Tensor dequantised(const limits::QuantMatmul& call, const Tensor& weight) {
    Tensor sum = integer_product(call.x1, weight);
    const bool integer_bias = call.bias && call.bias->scalar_type() == at::kInt;
    if (integer_bias) sum = sum + *call.bias;
    if (call.out.scalar_type() == at::kInt) return sum;
    Tensor value = sum.to(at::kFloat) * unpacked_scale(call.scale);
    if (call.pertoken_scale) value = value * call.pertoken_scale->unsqueeze(-1);
    return call.bias && !integer_bias ? value + *call.bias : value;
}

Work quant_matmul(limits::QuantMatmul call, const FormattedTensor& x2) {
    limits::quant_matmul(call);
    return [=] {
        const Tensor value = dequantised(call, x2.view);
        if (call.out.scalar_type() == at::kChar) {
            write_rounded_to_int8(call.out, value + unpacked_offset(call.scale, call.offset));
        } else {
            write(call.out, value);
        }
    };
}

Work prepare_dynamic_quant(const Tensor& x, const OptionalTensor& smooth_scales, const Tensor& y, const Tensor& scale) {
    limits::dynamic_quant(x, smooth_scales);
    if (y.scalar_type() != at::kChar) throw LimitError("dynamic quantisation to other types than int8 is not simulated");
    return [=] {
        const DynamicallyQuantised quantised = dynamic_quant(x, smooth_scales);
        write(y, quantised.y);
        write(scale, quantised.scale);
    };
}

}  // namespace
}  // namespace cann_sim

using namespace cann_sim;

OPERATOR(aclnnDynamicQuant, [](Tensor x, OptionalTensor smooth_scales, Tensor y, Tensor scale) -> Work {
    return prepare_dynamic_quant(x, smooth_scales, y, scale);
})
OPERATOR(aclnnDynamicQuantV2, [](Tensor x, OptionalTensor smooth_scales, OptionalTensor group_index, int32_t, Tensor y, Tensor scale,
                                 OptionalTensor offset) -> Work {
    refuse(group_index || offset, "dynamic quantisation by groups, or asymmetric");
    return prepare_dynamic_quant(x, smooth_scales, y, scale);
})
OPERATOR(aclnnDynamicQuantV3, [](Tensor x, OptionalTensor smooth_scales, OptionalTensor group_index, int32_t, bool symmetric,
                                 std::string mode, Tensor y, Tensor scale, OptionalTensor) -> Work {
    refuse(group_index || !symmetric || mode != "pertoken", "dynamic quantisation by groups, asymmetric, or not per token");
    return prepare_dynamic_quant(x, smooth_scales, y, scale);
})
OPERATOR(aclnnDynamicQuantV4, [](Tensor x, OptionalTensor smooth_scales, OptionalTensor group_index, int32_t, bool symmetric,
                                 std::string mode, float, Tensor y, Tensor scale, OptionalTensor) -> Work {
    refuse(group_index || !symmetric || mode != "pertoken", "dynamic quantisation by groups, asymmetric, or not per token");
    return prepare_dynamic_quant(x, smooth_scales, y, scale);
})

// x * scale + offset; with sqrt_mode, the scale counts twice.
OPERATOR(aclnnAscendQuant, [](Tensor x, Tensor scale, OptionalTensor offset, bool sqrt_mode, std::string, int32_t, Tensor y) {
    const Tensor factor = sqrt_mode ? at::square(scale.to(at::kFloat)) : scale.to(at::kFloat);
    const Tensor scaled = x.to(at::kFloat) * factor;
    write_rounded_to_int8(y, offset ? scaled + *offset : scaled);
})
OPERATOR(aclnnAscendQuantV3, [](Tensor x, Tensor scale, OptionalTensor offset, bool sqrt_mode, std::string, int32_t, int32_t axis, Tensor y) -> Work {
    refuse(axis != -1, "quantisation along the axis before the last");
    return [=] {
        const Tensor factor = sqrt_mode ? at::square(scale.to(at::kFloat)) : scale.to(at::kFloat);
        const Tensor scaled = x.to(at::kFloat) * factor;
        write_rounded_to_int8(y, offset ? scaled + *offset : scaled);
    };
})
// x / scale + zero point, along one axis.
OPERATOR(aclnnQuantize, [](Tensor x, Tensor scales, OptionalTensor zero_points, int32_t, int32_t axis, Tensor y) {
    Shape along(x.dim(), 1);
    if (scales.numel() > 1) along[axis < 0 ? axis + x.dim() : axis] = -1;
    const Tensor scaled = at::round(x.to(at::kFloat) / scales.to(at::kFloat).reshape(along));
    const Tensor moved = zero_points ? scaled + zero_points->to(at::kFloat).reshape(along) : scaled;
    const bool is_unsigned = y.scalar_type() == at::kByte;
    write(y, y.scalar_type() == at::kInt ? moved : is_unsigned ? at::clamp(moved, 0, 255) : at::clamp(moved, -128, 127));
})

OPERATOR(aclnnTransQuantParamV2, [](Tensor scale, OptionalTensor offset, Tensor out) { write(out, packed_parameter(scale, offset)); })
OPERATOR(aclnnTransQuantParamV3, [](Tensor scale, OptionalTensor offset, int64_t round_mode, Tensor out) -> Work {
    refuse(round_mode != 0, "a rounding quantisation parameter");
    return [=] { write(out, packed_parameter(scale, offset)); };
})

OPERATOR(aclnnQuantMatmulV5, [](Tensor x1, FormattedTensor x2, OptionalTensor pertoken_scale, Tensor scale, OptionalTensor y_scale, OptionalTensor,
                                OptionalTensor offset, OptionalTensor, OptionalTensor bias, bool transpose1, bool transpose2,
                                int64_t group_size, Tensor out) -> Work {
    refuse(y_scale || transpose1 || transpose2 || group_size, "a quantised product with output scale, flags for transposes, or groups");
    return quant_matmul({x1, x2.view, is_nz(x2), pertoken_scale, scale, offset, bias, out}, x2);
})
OPERATOR(aclnnQuantMatmulWeightNz, [](Tensor x1, FormattedTensor x2, OptionalTensor pertoken_scale, Tensor scale, OptionalTensor y_scale,
                                      OptionalTensor, OptionalTensor offset, OptionalTensor, OptionalTensor bias, bool transpose1,
                                      bool transpose2, int64_t group_size, Tensor out) -> Work {
    refuse(y_scale || transpose1 || transpose2 || group_size, "a quantised product with output scale, flags for transposes, or groups");
    return quant_matmul({x1, x2.view, is_nz(x2), pertoken_scale, scale, offset, bias, out}, x2);
})

OPERATOR(aclnnAddRmsNormDynamicQuantV2, [](Tensor x1, Tensor x2, Tensor gamma, OptionalTensor smooth_1, OptionalTensor smooth_2,
        OptionalTensor beta, double epsilon, const aclBoolArray*, Tensor y1, OptionalTensor, Tensor sum_out, Tensor scale_1, OptionalTensor) -> Work {
    refuse(smooth_2 || beta, "a second smoothing scale, or a bias, of the fused norm");
    limits::add_rms_norm(x1, x2, gamma);
    return [=] {
        const Tensor sum = x1 + x2;
        const DynamicallyQuantised quantised = dynamic_quant(rms_norm(sum, gamma, epsilon).y, smooth_1);
        write(sum_out, sum);
        write(y1, quantised.y);
        write(scale_1, quantised.scale);
    };
})
