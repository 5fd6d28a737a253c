// Owns vectors of LANES floats and what lies in memory as float, bfloat16 or half. Everything computes in float.
//
// GCC's vector extensions, so that the same lines become AVX-512, AVX2 or whatever the target has; intrinsics where GCC 12 does not see it.
// Included once per instruction set (see every_set.h), so everything here is inlined: nothing may be shared between the sets.

#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))
#define INLINE_SPECIAL inline __attribute__((always_inline))

static constexpr int LANES = SET_LANES;
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a bfloat16 is taken for the later half of a float");

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

struct BFloat16 {
    uint16_t bits;
};
#ifdef __aarch64__
typedef __fp16 Float16;  // g++ knows _Float16 in C++ only from 13 on there
#else
typedef _Float16 Float16;
#endif
struct Half {
    Float16 value;
};

INLINE Floats broadcast(float value) {
    return Floats{} + value;
}

INLINE Floats load(const float* from) {
    Floats out;
    memcpy(&out, from, sizeof out);
    return out;
}

// A bfloat16 is the upper half of a float. Written as a shuffle with zeros: GCC 12 takes a conversion to wider lanes apart, and of 8
// lanes the shuffle too.
INLINE Floats load(const BFloat16* from) {
    typedef uint16_t Pairs __attribute__((vector_size(4 * LANES)));
    Halves bits;
    memcpy(&bits, from, sizeof bits);
#if SET_LANES == 16
    const Pairs pairs = __builtin_shufflevector(
        bits, Halves{}, 16, 0, 16, 1, 16, 2, 16, 3, 16, 4, 16, 5, 16, 6, 16, 7, 16, 8, 16, 9, 16, 10, 16, 11, 16, 12, 16,
        13, 16, 14, 16, 15);
#elif SET_LANES == 8
    const Pairs pairs = (Pairs)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)bits), 16);
#else
    const Pairs pairs = __builtin_shufflevector(bits, Halves{}, 4, 0, 4, 1, 4, 2, 4, 3);
#endif
    return (Floats)pairs;
}

// In hardware, or exactly so in whole numbers; no compiler makes vectors of what is written one by one.
INLINE Floats load(const Half* from) {
#if SET_LANES == 16
    return (Floats)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)from));
#elif SET_LANES == 8
    return (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#else
    uint16_t bits[LANES];
    memcpy(bits, from, sizeof bits);
    Words half;
    for (int lane = 0; lane < LANES; ++lane) half[lane] = bits[lane];
    const Floats size = (Floats)((half & 0x7fff) << 13) * 0x1p112f;  // the exponent's bias is 127, not 15
    return (Floats)((Words)size | (half & 0x8000) << 16 | (size >= 0x1p16f ? Words{} + 0x7f800000 : Words{}));
#endif
}

INLINE void store(float* to, Floats value) {
    memcpy(to, &value, sizeof value);
}

// To nearest, ties to even, as torch rounds; a NaN stays one. The bfloat16 is the upper half of each word.
INLINE Words bfloat16_above(Floats value) {
    const Words bits = (Words)value, rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return value == value ? rounded : bits | 0x400000;
}

INLINE void store(BFloat16* to, Floats value) {
#ifdef SET_HAS_BF16
    _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));  // what is below 1e-38 becomes zero
    return;
#endif
    const Halves halves = __builtin_convertvector(bfloat16_above(value) >> 16, Halves);
    memcpy(to, &halves, sizeof halves);
}

INLINE void store(Half* to, Floats value) {
#if SET_LANES == 16
    _mm256_storeu_si256((__m256i*)to, _mm512_maskz_cvtps_ph(0xffff, (__m512)value, _MM_FROUND_TO_NEAREST_INT));
#elif SET_LANES == 8
    _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int lane = 0; lane < LANES; ++lane) to[lane].value = (Float16)value[lane];
#endif
}

// The first `count` lanes only; the others are zero, and are not written.
template <typename T>
INLINE Floats load(const T* from, int64_t count) {
    if (count >= LANES) return load(from);
    T padded[LANES] = {};
    memcpy(padded, from, sizeof(T) * count);
    return load(padded);
}

template <typename T>
INLINE void store(T* to, Floats value, int64_t count) {
    if (count >= LANES) return store(to, value);
    T padded[LANES];
    store(padded, value);
    memcpy(to, padded, sizeof(T) * count);
}

// As if it had been written to memory as T and read again.
template <typename T>
INLINE Floats rounded_to(Floats value) {
    T memory[LANES];
    store(memory, value);
    return load(memory);
}

template <>
INLINE_SPECIAL Floats rounded_to<BFloat16>(Floats value) {
#ifdef SET_HAS_BF16
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)value)), 16);
#endif
    return (Floats)(bfloat16_above(value) & 0xffff0000);
}

template <>
INLINE_SPECIAL Floats rounded_to<float>(Floats value) {
    return value;
}

// Four lanes, which every set has.
typedef float Quad __attribute__((vector_size(16)));
static constexpr int QUADS = LANES / 4;

// Over the lanes, in halves.
INLINE float sum(Floats v) {
    Quad quad[QUADS];
    memcpy(quad, &v, sizeof v);
    for (int half = QUADS / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) quad[i] += quad[i + half];
    return (quad[0][0] + quad[0][2]) + (quad[0][1] + quad[0][3]);
}

INLINE Floats larger(Floats a, Floats b) {
    return a > b ? a : b;
}

// Not std::max and the like, here and below: a template of the standard library is one function for all sets, where it is not inlined.
INLINE float larger(float a, float b) {
    return b > a ? b : a;
}

INLINE int64_t larger(int64_t a, int64_t b) {
    return b > a ? b : a;
}

INLINE int64_t smaller(int64_t a, int64_t b) {
    return b < a ? b : a;
}

INLINE void fill(float* to, int64_t count, float value) {
    for (int64_t i = 0; i < count; ++i) to[i] = value;
}

INLINE float largest(Floats v) {
    Quad quad[QUADS];
    memcpy(quad, &v, sizeof v);
    for (int half = QUADS / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) quad[i] = quad[i] > quad[i + half] ? quad[i] : quad[i + half];
    return larger(larger(quad[0][0], quad[0][2]), larger(quad[0][1], quad[0][3]));
}

// e^x to about 2 units in the last place; below -87 it is as at -87 (1.6e-38), above 88 as at 88. A NaN stays one.
INLINE Floats exponential(Floats x) {
    x = x < -87.0f ? broadcast(-87.0f) : x;
    x = x > 88.0f ? broadcast(88.0f) : x;
    const float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it leaves no place for a fraction
    const Floats shifted = x * 1.44269504088896341f + to_integer;
    const Floats n = shifted - to_integer;
    const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts: n times the first is exact
    Floats series = broadcast(1.9875691500e-4f);  // minimax over [-ln 2 / 2, ln 2 / 2]: Moshier's Cephes
    series = series * r + 1.3981999507e-3f;
    series = series * r + 8.3334519073e-3f;
    series = series * r + 4.1665795894e-2f;
    series = series * r + 1.6666665459e-1f;
    series = series * r + 5.0000001201e-1f;
    series = series * r * r + r + 1.0f;
    const Integers exponent = (Integers)shifted << 23;  // the low bits of `shifted` are n
    return x == x ? (Floats)((Integers)series + exponent) : x;
}
