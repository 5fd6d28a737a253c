// Owns the kernels that go over each token by itself: norm, rotation, gated activation, the most likely token. They round where the core's
// definitions in torch round, so that both give the same bits in most places.
//
// Legend: T tokens, H heads, D head size, R rotating dimensions (the first of D), I inner size, N rows, V vocabulary.

static constexpr int64_t WORTH_A_THREAD = 1 << 16;  // elements

template <typename T>
struct RmsNorm {
    static void run(const NormArguments& a) {
#pragma omp parallel for schedule(static) if (a.num_rows * a.size > WORTH_A_THREAD)
        for (int64_t row = 0; row < a.num_rows; ++row) norm(a, row * a.size);
    }

  private:
    static void norm(const NormArguments& a, int64_t at) {
        const T* x = (const T*)a.x + at;
        if (a.residual) x = add(a, at);
        Floats squares = {};
        for (int64_t i = 0; i < a.size; i += LANES) {
            const Floats value = load(x + i, a.size - i);
            squares += value * value;
        }
        const float factor = 1.0f / sqrtf(sum(squares) / (float)a.size + (float)a.epsilon);
        T* out = (T*)a.out + at;
        for (int64_t i = 0; i < a.size; i += LANES) {
            const Floats normed = rounded_to<T>(load(x + i, a.size - i) * factor);
            store(out + i, normed * load((const T*)a.weight + i, a.size - i), a.size - i);
        }
    }

    static const T* add(const NormArguments& a, int64_t at) {
        const T *x = (const T*)a.x + at, *residual = (const T*)a.residual + at;
        T* sum = (T*)a.sum + at;
        for (int64_t i = 0; i < a.size; i += LANES)
            store(sum + i, load(x + i, a.size - i) + load(residual + i, a.size - i), a.size - i);
        return sum;
    }
};

template <typename T>
struct Rotary {
    static void run(const RotaryArguments& a) {
#pragma omp parallel for schedule(static) if (a.num_tokens * a.num_heads * a.head_size > WORTH_A_THREAD)
        for (int64_t token = 0; token < a.num_tokens; ++token)
            for (int64_t head = 0; head < a.num_heads; ++head) turn(a, token, head);
    }

  private:
    static void turn(const RotaryArguments& a, int64_t token, int64_t head) {
        const int64_t half = a.rotary_size / 2;
        const T* x = (const T*)a.x_THD + token * a.x_token_distance + head * a.x_head_distance;
        const T *cos = (const T*)a.cos_TR + token * a.angle_distance, *sin = (const T*)a.sin_TR + token * a.angle_distance;
        T* out = (T*)a.out_THD + (token * a.num_heads + head) * a.head_size;
        turn_half(out, x, x + half, cos, sin, half);
        turn_half(out + half, x + half, x, cos + half, sin + half, half);
        memcpy(out + a.rotary_size, x + a.rotary_size, sizeof(T) * (a.head_size - a.rotary_size));
    }

    static void turn_half(T* out, const T* x, const T* partner, const T* cos, const T* sin, int64_t size) {
        for (int64_t i = 0; i < size; i += LANES) {
            const int64_t left = size - i;
            const Floats kept = rounded_to<T>(load(x + i, left) * load(cos + i, left));
            store(out + i, kept + load(partner + i, left) * load(sin + i, left), left);
        }
    }
};

// silu(gate) * up, of rows that hold both, one after the other. A gate whose exponential no float holds is closed, also to the largest
// numbers, and -infinity gives no number: as in torch, and not as `exponential` has it, which stops at e^88.
template <typename T>
struct SiluAndMul {
    static void run(const GatedArguments& a) {
#pragma omp parallel for schedule(static) if (a.num_tokens * a.size > WORTH_A_THREAD)
        for (int64_t token = 0; token < a.num_tokens; ++token) {
            const T* gate = (const T*)a.gate_up_T2I + token * a.distance;
            T* out = (T*)a.out_TI + token * a.size;
            for (int64_t i = 0; i < a.size; i += LANES) {
                const Floats x = load(gate + i, a.size - i);
                const Floats power = x < -88.72f ? broadcast(INFINITY) : exponential(-x);
                const Floats silu = rounded_to<T>(x / (power + 1.0f));
                store(out + i, silu * load(gate + a.size + i, a.size - i), a.size - i);
            }
        }
    }
};

// The first of the largest numbers of each row; the first that is no number, where there is one, as torch has it.
template <typename T>
struct MostLikely {
    static void run(const MostLikelyArguments& a) {
#pragma omp parallel for schedule(static) if (a.num_rows * a.size > WORTH_A_THREAD)
        for (int64_t row = 0; row < a.num_rows; ++row) a.index_N[row] = first((const T*)a.logits_NV + row * a.distance, a.size);
    }

  private:
    static int64_t first(const T* from, int64_t size) {
        Floats most = broadcast(-INFINITY), wrong = {};
        for (int64_t i = 0; i + LANES <= size; i += LANES) {
            const Floats value = load(from + i);
            most = larger(value, most);
            wrong += value - value;  // stays 0 only among numbers; an infinity is caught too, and looked at again
        }
        float largest_one = largest(most);
        bool any_wrong = sum(wrong) != 0.0f;
        for (int64_t i = size / LANES * LANES; i < size; ++i) {
            const float value = load(from + i, 1)[0];
            largest_one = larger(value, largest_one);
            any_wrong |= value - value != 0.0f;
        }
        if (any_wrong)
            for (int64_t i = 0; i < size; ++i) {
                const float value = load(from + i, 1)[0];
                if (value != value) return i;
            }
        int64_t i = 0;
        for (; i + LANES <= size; i += LANES)
            if (has(load(from + i), largest_one)) break;
        while (i < size - 1 && load(from + i, 1)[0] != largest_one) ++i;
        return i;
    }

    static bool has(Floats values, float value) {
        const Integers equal = values == value;
        return sum((Floats)(equal & (Integers)broadcast(1.0f))) != 0.0f;
    }
};
