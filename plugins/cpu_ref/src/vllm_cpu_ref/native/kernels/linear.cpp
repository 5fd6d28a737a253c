// The product with a weight matrix in bfloat16, for processors that multiply pairs of them (AVX512_BF16): out = x · weightᵀ + bias.
//
// The weight lies in panels of 64 outputs, and in a panel pair of inputs after pair: [panels, I/2, 64, 2]. So what the innermost loop
// reads is one stretch of memory, and nothing is packed again at each call, which is what a library that is handed a plain matrix must do.
// Every number of the result is one sum in float over the inputs in their order: its bits depend on its row of x and on nothing else.
//
// Legend: T tokens, I inputs, O outputs.

#include <omp.h>

#include <cstdint>
#include <cstring>

#include "arguments.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")

namespace {

typedef uint16_t BFloat16;  // its bits

constexpr int LANES = 16;                    // outputs in a register
constexpr int VECTORS = PANEL_OUTPUTS / LANES;
constexpr int TOKENS = 6;                    // times VECTORS: as many sums as leave registers for what they are made of
constexpr int64_t TOKENS_AT_A_TIME = 96;     // of one panel, so that threads share a prompt evenly and its inputs stay in the cache
constexpr int64_t WORTH_A_THREAD = 1 << 22;  // products

// Some tokens times some outputs of one panel, in registers.
template <int T, int V>
inline __attribute__((always_inline)) void multiply(
    const LinearArguments& a, const BFloat16* x_TI, const BFloat16* panel, const BFloat16* bias_O, BFloat16* out_TO, int64_t outputs) {
    __m512 sum[T][V];
    for (int t = 0; t < T; ++t)
        for (int v = 0; v < V; ++v) sum[t][v] = _mm512_setzero_ps();
    for (int64_t pair = 0; pair < a.num_inputs / 2; ++pair) {
        __m512i weights[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) weights[v] = _mm512_loadu_si512(panel + 2 * (pair * PANEL_OUTPUTS + v * LANES));
#pragma GCC unroll 6
        for (int t = 0; t < T; ++t) {
            int32_t inputs;
            memcpy(&inputs, x_TI + t * a.x_distance + 2 * pair, sizeof inputs);
            const __m512bh everywhere = (__m512bh)_mm512_set1_epi32(inputs);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[t][v] = _mm512_dpbf16_ps(sum[t][v], everywhere, (__m512bh)weights[v]);
        }
    }
    for (int v = 0; v < V; ++v) {
        const int64_t left = outputs - v * LANES;
        const __mmask16 lanes = left < LANES ? (__mmask16)((1u << left) - 1) : (__mmask16)0xffff;
        __m512 bias = _mm512_setzero_ps();
        if (bias_O)
            bias = (__m512)_mm512_slli_epi32(
                _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, bias_O + v * LANES)), 16);
        for (int t = 0; t < T; ++t) {
            const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(bias_O ? sum[t][v] + bias : sum[t][v]);
            _mm256_mask_storeu_epi16(out_TO + t * a.num_outputs + v * LANES, lanes, rounded);
        }
    }
}

// All tokens of a unit.
template <int V>
void multiply_panel(const LinearArguments& a, int64_t token, int64_t num_tokens, int64_t first_output, int64_t outputs) {
    const BFloat16* panel = (const BFloat16*)a.weight + first_output * a.num_inputs;
    const BFloat16* bias_O = a.bias_O ? (const BFloat16*)a.bias_O + first_output : nullptr;
    const auto x = [&] { return (const BFloat16*)a.x_TI + token * a.x_distance; };
    const auto out = [&] { return (BFloat16*)a.out_TO + token * a.num_outputs + first_output; };
    const int64_t end = token + num_tokens;
    for (; token + TOKENS <= end; token += TOKENS) multiply<TOKENS, V>(a, x(), panel, bias_O, out(), outputs);
    switch (end - token) {
        case 1: return multiply<1, V>(a, x(), panel, bias_O, out(), outputs);
        case 2: return multiply<2, V>(a, x(), panel, bias_O, out(), outputs);
        case 3: return multiply<3, V>(a, x(), panel, bias_O, out(), outputs);
        case 4: return multiply<4, V>(a, x(), panel, bias_O, out(), outputs);
        case 5: return multiply<5, V>(a, x(), panel, bias_O, out(), outputs);
    }
}

int64_t smaller(int64_t a, int64_t b) {
    return b < a ? b : a;
}

// Some tokens times one panel: what a thread takes at a time.
void multiply_unit(const LinearArguments& a, int64_t token, int64_t panel) {
    const int64_t num_tokens = smaller(TOKENS_AT_A_TIME, a.num_tokens - token), first_output = panel * PANEL_OUTPUTS;
    const int64_t outputs = smaller(PANEL_OUTPUTS, a.num_outputs - first_output);
    switch ((outputs + LANES - 1) / LANES) {
        case 1: return multiply_panel<1>(a, token, num_tokens, first_output, outputs);
        case 2: return multiply_panel<2>(a, token, num_tokens, first_output, outputs);
        case 3: return multiply_panel<3>(a, token, num_tokens, first_output, outputs);
        default: return multiply_panel<VECTORS>(a, token, num_tokens, first_output, outputs);
    }
}

}  // namespace

void bfloat16_linear(const LinearArguments& a) {
    const int64_t panels = (a.num_outputs + PANEL_OUTPUTS - 1) / PANEL_OUTPUTS;
    const int64_t units = (a.num_tokens + TOKENS_AT_A_TIME - 1) / TOKENS_AT_A_TIME * panels;
#pragma omp parallel for schedule(dynamic) if (a.num_tokens * a.num_inputs * a.num_outputs > WORTH_A_THREAD)
    for (int64_t unit = 0; unit < units; ++unit) multiply_unit(a, unit / panels * TOKENS_AT_A_TIME, unit % panels);
}

// Not where there are tiles (AMX): there torch's library uses them, which is faster still.
bool has_bfloat16_linear() {
    unsigned eax, ebx, ecx, edx;
    const bool has_tiles = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & 1u << 22);
    return !has_tiles && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16");
}
#else
void bfloat16_linear(const LinearArguments&) {}

bool has_bfloat16_linear() {
    return false;
}
#endif
