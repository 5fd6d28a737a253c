// The two 16-bit floats as bits, to and from float; rounding is to nearest, ties to even.
#pragma once

#include <bit>
#include <cstdint>

namespace cann_sim::collectives {

inline float bfloat16_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline uint16_t float_to_bfloat16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if (value != value) return 0x7FC0;
    return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float float16_to_float(uint16_t bits) {
    const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
    const uint32_t rest = uint32_t{bits & 0x7FFFu} << 13;
    if (rest >= 0x0F800000) return std::bit_cast<float>(sign | 0x7F800000 | (rest & 0x007FFFFF));  // infinity, NaN
    // The exponents differ by 112; a multiplication moves them and normalises what is subnormal in 16 bits.
    const float magnitude = std::bit_cast<float>(rest) * 0x1p112f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

inline uint16_t float_to_float16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
    const uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) return sign | 0x7E00;
    if (magnitude >= 0x47800000) return sign | 0x7C00;  // 65536 and above
    if (magnitude < 0x38800000) {                       // below 2^-14: adding 0.5 lets the addition itself round
        const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
        return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(rounded) - 0x3F000000);
    }
    const uint32_t rebased = magnitude - 0x38000000;
    return sign | static_cast<uint16_t>((rebased + 0xFFF + ((rebased >> 13) & 1)) >> 13);
}

}  // namespace cann_sim::collectives
