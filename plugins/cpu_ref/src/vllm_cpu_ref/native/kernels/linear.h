// Owns the product with a weight matrix in bfloat16, for processors that multiply pairs of them (AVX512_BF16): out = x · weightᵀ + bias.
//
// The weight lies in panels of 64 outputs, and in a panel pair of inputs after pair: [panels, I/2, 64, 2]. So what the innermost loop
// reads is one stretch of memory, and nothing is packed again at each call, which is what a library that is handed a plain matrix must do.
// Every number of the result is one sum in float over the inputs in their order: its bits depend on its row of x and on nothing else.
// Denormals count as zero there.
//
// Legend: T tokens, I inputs, O outputs.

struct Linear {
    static void run(Type, const LinearArguments& a) {
        const int64_t panels = (a.num_outputs + PANEL_OUTPUTS - 1) / PANEL_OUTPUTS;
        const int64_t units = (a.num_tokens + TOKENS_AT_A_TIME - 1) / TOKENS_AT_A_TIME * panels;
#pragma omp parallel for schedule(dynamic) if (a.num_tokens * a.num_inputs * a.num_outputs > WORTH_A_THREAD)
        for (int64_t unit = 0; unit < units; ++unit) unit_of(a, unit / panels * TOKENS_AT_A_TIME, unit % panels);
    }

  private:
    static constexpr int VECTORS = PANEL_OUTPUTS / LANES;
    static constexpr int TOKENS = 6;                    // times VECTORS: as many sums as leave registers for what they are made of
    static constexpr int64_t TOKENS_AT_A_TIME = 96;     // of one panel: threads share a prompt evenly, and its inputs stay in the cache
    static constexpr int64_t WORTH_A_THREAD = 1 << 23;  // products

    // Some tokens times one panel: what a thread takes at a time.
    static void unit_of(const LinearArguments& a, int64_t token, int64_t panel) {
        const int64_t num_tokens = smaller(TOKENS_AT_A_TIME, a.num_tokens - token), first_output = panel * PANEL_OUTPUTS;
        const int64_t outputs = smaller(PANEL_OUTPUTS, a.num_outputs - first_output);
        switch ((outputs + LANES - 1) / LANES) {
            case 1: return all_tokens<1>(a, token, num_tokens, first_output, outputs);
            case 2: return all_tokens<2>(a, token, num_tokens, first_output, outputs);
            case 3: return all_tokens<3>(a, token, num_tokens, first_output, outputs);
            default: return all_tokens<VECTORS>(a, token, num_tokens, first_output, outputs);
        }
    }

    template <int V>
    static void all_tokens(const LinearArguments& a, int64_t token, int64_t num_tokens, int64_t first_output, int64_t outputs) {
        const BFloat16* panel = (const BFloat16*)a.weight + first_output * a.num_inputs;
        const BFloat16* bias_O = a.bias_O ? (const BFloat16*)a.bias_O + first_output : nullptr;
        const BFloat16* x_TI = (const BFloat16*)a.x_TI + token * a.x_distance;
        BFloat16* out_TO = (BFloat16*)a.out_TO + token * a.num_outputs + first_output;
        int64_t left = num_tokens;
        for (; left >= TOKENS; left -= TOKENS, x_TI += TOKENS * a.x_distance, out_TO += TOKENS * a.num_outputs)
            tile<TOKENS, V>(a, x_TI, panel, bias_O, out_TO, outputs);
        switch (left) {
            case 1: return tile<1, V>(a, x_TI, panel, bias_O, out_TO, outputs);
            case 2: return tile<2, V>(a, x_TI, panel, bias_O, out_TO, outputs);
            case 3: return tile<3, V>(a, x_TI, panel, bias_O, out_TO, outputs);
            case 4: return tile<4, V>(a, x_TI, panel, bias_O, out_TO, outputs);
            case 5: return tile<5, V>(a, x_TI, panel, bias_O, out_TO, outputs);
        }
    }

    // Some tokens times some outputs of one panel, in registers.
    template <int T, int V>
    INLINE void tile(
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
            const int64_t count = outputs - v * LANES;
            const Floats bias = bias_O ? load(bias_O + v * LANES, count) : Floats{};
            for (int t = 0; t < T; ++t)
                store(out_TO + t * a.num_outputs + v * LANES, bias_O ? (Floats)sum[t][v] + bias : (Floats)sum[t][v], count);
        }
    }
};
