// Owns paged attention: this step's keys and values go into the cache, then every row attends over its context in the cache.
//
// One pass over the keys with a running maximum (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), in
// float. Keys are taken in tiles that begin at multiples of TILE, so what a row gives depends on nothing but the row: not on its
// neighbours in the step, nor on how its prompt was cut. Other instruction sets add in another order.
//
// In the cache the keys of a block lie across: [blocks, K, D, block_size], so that one number of LANES keys is one vector and a score needs
// no sum over lanes. Values are [blocks, K, block_size, D]. Nothing is read that was never written, but keys past a row's end within LANES
// of it; their scores are dropped.
//
// Legend: N rows, T tokens, H query heads, K key/value heads, D head size (P: padded to whole vectors), X queries of a piece (of all heads
// that share the key/value head), L keys of a tile.

static constexpr int VECTORS = 4;                     // of keys in a tile, and of a head that are summed at a time
static constexpr int64_t TILE = VECTORS * LANES;      // keys
static constexpr int SUMS = 4;                        // into how many each score is split
static constexpr int MANY_QUERIES = 12;               // from here on it pays to turn a tile into floats first
static constexpr bool MANY_REGISTERS = LANES == 16;   // 32, not 16: room for the sums of four queries at a time, not of two

// Positions in the row: of a piece's queries, and the key that its first tile begins with.
struct Span {
    int64_t first_position, last_position, window, first_key;
};

template <typename T>
struct Attention {
    static void run(const AttentionArguments& a) {
        const AttentionPlan& plan = a.plan;
        const int64_t last = plan.num_pieces - 1;
#pragma omp parallel if (plan.is_parallel)
        {
#pragma omp for schedule(static)
            for (int64_t token = 0; token < a.num_slots; ++token) keep(a, token);
            const Workspace space(plan, TILE, omp_get_thread_num());
            fill(space.k_PL + a.head_size * TILE, (space.P - a.head_size) * TILE, 0.0f);  // no tile writes there
#pragma omp for schedule(dynamic, plan.pieces_at_a_time)
            for (int64_t i = 0; i <= last; ++i) attend(a, plan.pieces[i], plan.pieces[smaller(i + 1, last)], space);
        }
    }

  private:
    static void keep(const AttentionArguments& a, int64_t token) {
        const int64_t D = a.head_size, block = a.slot_mapping_T[token] / a.block_size;
        const int64_t offset = a.slot_mapping_T[token] % a.block_size;
        for (int64_t head = 0; head < a.num_kv_heads; ++head) {
            const T* k = (const T*)a.k_TKD + token * a.k_token_distance + head * a.k_head_distance;
            const T* v = (const T*)a.v_TKD + token * a.v_token_distance + head * a.v_head_distance;
            T* across = (T*)a.k_cache + (block * a.num_kv_heads + head) * D * a.block_size + offset;
            for (int64_t d = 0; d < D; ++d) across[d * a.block_size] = k[d];
            memcpy(value(a, block, head, offset), v, sizeof(T) * D);
        }
        if (token < a.query_start_N1[0] || token >= a.query_start_N1[a.num_rows])  // padding, which must come out finite
            memset((T*)a.out_THD + token * a.num_heads * D, 0, sizeof(T) * a.num_heads * D);
    }

    static T* value(const AttentionArguments& a, int64_t block, int64_t kv_head, int64_t offset) {
        return (T*)a.v_cache + ((block * a.num_kv_heads + kv_head) * a.block_size + offset) * a.head_size;
    }

    static void attend(const AttentionArguments& a, const Piece& piece, const Piece& next, const Workspace& space) {
        const int64_t G = a.num_heads / a.num_kv_heads, X = G * piece.num_tokens;
        const bool as_it_lies = X < MANY_QUERIES && a.head_size % LANES == 0 && a.block_size % LANES == 0;
        const Span span = span_of(a, piece);
        read_queries(a, piece, space);
        fill(space.out_XP, X * space.P, 0.0f);
        fill(space.sum_X, X, 0.0f);
        fill(space.maximum_X, X, -INFINITY);
        for (int64_t key = span.first_key; key <= span.last_position; key += TILE) {
            const int64_t L = smaller(TILE, span.last_position + 1 - key);
            const bool is_last = key + TILE > span.last_position;
            is_last ? fetch_ahead(a, next, span_of(a, next).first_key) : fetch_ahead(a, piece, key + TILE);
            as_it_lies ? score_as_it_lies(a, piece, key, L, space, X) : score_in_floats(a, piece, key, L, space, X);
            for (int64_t x = 0; x < X; ++x) {
                const int64_t position = span.first_position + x / G;
                weigh(a, space, x, larger(0, position - span.window + 1 - key),
                      smaller(L, position + 1 - key));
            }
            as_it_lies ? add_as_they_lie(a, piece, key, L, space, X) : add_in_floats(a, piece, key, L, space, X);
        }
        write(a, piece, space);
    }

    static Span span_of(const AttentionArguments& a, const Piece& piece) {
        const int64_t tokens_left = a.query_start_N1[piece.row + 1] - piece.first_token;
        const int64_t first = a.seq_lens_N[piece.row] - tokens_left, last = first + piece.num_tokens - 1;
        const int64_t window = a.sliding_window ? a.sliding_window : last + 1;
        return {first, last, window, larger(0, first - window + 1) / TILE * TILE};
    }

    // A cache of gigabytes lies far away, and no processor guesses where the next block is.
    static void fetch_ahead(const AttentionArguments& a, const Piece& piece, int64_t key) {
        const int64_t end = smaller(a.seq_lens_N[piece.row], key + TILE), D_bytes = a.head_size * sizeof(T);
        while (key < end) {
            const int64_t offset = key % a.block_size, keys = smaller(a.block_size - offset, end - key);
            const int64_t block = block_of(a, piece, key) * a.num_kv_heads + piece.kv_head;
            const char* k = (const char*)a.k_cache + block * a.block_size * D_bytes;  // across: all of the block
            const char* v = (const char*)a.v_cache + (block * a.block_size + offset) * D_bytes;
            for (int64_t line = 0; line < smaller(a.block_size, TILE) * D_bytes; line += 64) __builtin_prefetch(k + line);
            for (int64_t line = 0; line < keys * D_bytes; line += 64) __builtin_prefetch(v + line);
            key += keys;
        }
    }

    static int64_t block_of(const AttentionArguments& a, const Piece& piece, int64_t key) {
        return a.block_table_NB[piece.row * a.table_distance + key / a.block_size];
    }

    // Scaled beforehand; the heads of one token are neighbours.
    static void read_queries(const AttentionArguments& a, const Piece& piece, const Workspace& space) {
        const int64_t G = a.num_heads / a.num_kv_heads, D = a.head_size;
        float* to = space.q_XP;
        for (int64_t token = 0; token < piece.num_tokens; ++token) {
            const T* from = (const T*)a.q_THD + (piece.first_token + token) * a.q_token_distance;
            for (int64_t head = piece.kv_head * G; head < (piece.kv_head + 1) * G; ++head, to += space.P)
                for (int64_t d = 0; d < D; d += LANES)
                    store(to + d, load(from + head * a.q_head_distance + d, D - d) * (float)a.scale);
        }
    }

    // -- scores -------------------------------------------------------------------------------------------------------------

    static void score_as_it_lies(
        const AttentionArguments& a, const Piece& piece, int64_t key, int64_t L, const Workspace& space, int64_t X) {
        for (int64_t l = 0; l < L; l += LANES) {
            const int64_t block = block_of(a, piece, key + l) * a.num_kv_heads + piece.kv_head;
            const T* k = (const T*)a.k_cache + block * a.head_size * a.block_size + (key + l) % a.block_size;
            score_all(space, X, k, a.block_size, l);
        }
    }

    static void score_in_floats(
        const AttentionArguments& a, const Piece& piece, int64_t key, int64_t L, const Workspace& space, int64_t X) {
        for (int64_t l = 0; l < L; ++l) {
            const int64_t block = block_of(a, piece, key + l) * a.num_kv_heads + piece.kv_head;
            const T* k = (const T*)a.k_cache + block * a.head_size * a.block_size + (key + l) % a.block_size;
            const bool whole = a.block_size % LANES == 0;  // then l goes on by whole vectors
            for (int64_t d = 0; d < a.head_size; ++d)
                store(&space.k_PL[d * TILE + l], load(k + d * a.block_size, whole ? LANES : 1), whole ? LANES : 1);
            if (whole) l += LANES - 1;
        }
        for (int64_t l = 0; l < L; l += LANES) score_all(space, X, space.k_PL + l, TILE, l);
    }

    // LANES keys, whose d-th numbers lie at k_DL + d * distance, times all queries.
    template <typename E>
    static void score_all(const Workspace& space, int64_t X, const E* k_DL, int64_t distance, int64_t l) {
        int64_t x = 0;
        for (; MANY_REGISTERS && x + 4 <= X; x += 4) score_some<4>(space, x, k_DL, distance, l);
        for (; x + 2 <= X; x += 2) score_some<2>(space, x, k_DL, distance, l);
        for (; x < X; ++x) score_some<1>(space, x, k_DL, distance, l);
    }

    // In several sums, so that no addition waits for the one before; always the same ones, whatever goes on beside.
    template <int QUERIES, typename E>
    static void score_some(const Workspace& space, int64_t x, const E* k_DL, int64_t distance, int64_t l) {
        const int64_t P = space.P;
        const float* q_XP = space.q_XP + x * P;
        Floats total[QUERIES][SUMS] = {};
        for (int64_t d = 0; d < P; d += SUMS)
#pragma GCC unroll 4
            for (int s = 0; s < SUMS; ++s) {
                const Floats k = load(k_DL + (d + s) * distance);
#pragma GCC unroll 4
                for (int i = 0; i < QUERIES; ++i) total[i][s] += q_XP[i * P + d + s] * k;
            }
#pragma GCC unroll 4
        for (int i = 0; i < QUERIES; ++i) {
#pragma GCC unroll 4
            for (int s = 1; s < SUMS; ++s) total[i][0] += total[i][s];
            store(&space.score_XL[(x + i) * TILE + l], total[i][0]);
        }
    }

    // -- weights ------------------------------------------------------------------------------------------------------------

    // Scores of one query become weights relative to its largest score so far; keys outside [first, end) weigh nothing.
    static void weigh(const AttentionArguments& a, const Workspace& space, int64_t x, int first, int end) {
        Integers lane;
        for (int l = 0; l < LANES; ++l) lane[l] = l;
        const Floats nothing = broadcast(-INFINITY);
        float* score_L = &space.score_XL[x * TILE];
        Floats score[VECTORS], most = nothing;
        for (int i = 0; i < VECTORS; ++i) {
            const Integers l = lane + i * LANES;
            score[i] = load(score_L + i * LANES);
            if (a.logits_soft_cap) score[i] = capped(score[i], (float)a.logits_soft_cap);
            score[i] = (l >= first) & (l < end) ? score[i] : nothing;
            most = larger(most, score[i]);
        }
        const float before = space.maximum_X[x], now = larger(before, largest(most));
        const bool seen = now != nothing[0];  // a window may end before this tile
        Floats total = {};
        for (int i = 0; i < VECTORS; ++i) {
            const Floats weight = score[i] == nothing ? Floats{} : exponential(score[i] - now);
            store(score_L + i * LANES, weight);
            total += weight;
        }
        const float shrink = now == before || !seen ? 1.0f : expf(before - now);
        space.maximum_X[x] = now;
        space.sum_X[x] = space.sum_X[x] * shrink + sum(total);
        if (shrink == 1.0f) return;
        float* out_P = &space.out_XP[x * space.P];
        for (int64_t d = 0; d < space.P; d += LANES) store(out_P + d, load(out_P + d) * shrink);
    }

    static Floats capped(Floats score, float cap) {
        for (int lane = 0; lane < LANES; ++lane) score[lane] = cap * tanhf(score[lane] / cap);
        return score;
    }

    // -- values -------------------------------------------------------------------------------------------------------------

    static void add_as_they_lie(
        const AttentionArguments& a, const Piece& piece, int64_t key, int64_t L, const Workspace& space, int64_t X) {
        for (int64_t l = 0; l < L;) {
            const int64_t offset = (key + l) % a.block_size, keys = smaller(a.block_size - offset, L - l);
            add_all(space, X, value(a, block_of(a, piece, key + l), piece.kv_head, offset), a.head_size, l, keys);
            l += keys;
        }
    }

    static void add_in_floats(
        const AttentionArguments& a, const Piece& piece, int64_t key, int64_t L, const Workspace& space, int64_t X) {
        const int64_t D = a.head_size, P = space.P;
        for (int64_t l = 0; l < L; ++l) {
            const T* v = value(a, block_of(a, piece, key + l), piece.kv_head, (key + l) % a.block_size);
            for (int64_t d = 0; d < D; d += LANES) store(&space.v_LP[l * P + d], load(v + d, D - d));
        }
        add_all(space, X, space.v_LP, P, 0, L);
    }

    // Values of `keys` keys from the l-th of the tile on, each `distance` after the one before, times their weights.
    template <typename E>
    static void add_all(const Workspace& space, int64_t X, const E* v, int64_t distance, int64_t l, int64_t keys) {
        int64_t x = 0;
        for (; MANY_REGISTERS && x + 4 <= X; x += 4) add_heads<4>(space, x, v, distance, l, keys);
        for (; x + 2 <= X; x += 2) add_heads<2>(space, x, v, distance, l, keys);
        for (; x < X; ++x) add_heads<1>(space, x, v, distance, l, keys);
    }

    template <int QUERIES, typename E>
    static void add_heads(const Workspace& space, int64_t x, const E* v, int64_t distance, int64_t l, int64_t keys) {
        int64_t d = 0;
        for (; d + TILE <= space.P; d += TILE) add_stretch<QUERIES, VECTORS>(space, x, d, v, distance, l, keys);
        for (; d < space.P; d += LANES) add_stretch<QUERIES, 1>(space, x, d, v, distance, l, keys);
    }

    template <int QUERIES, int WIDTH, typename E>
    static void add_stretch(const Workspace& space, int64_t x, int64_t d, const E* v, int64_t distance, int64_t l, int64_t keys) {
        const int64_t P = space.P;
        float* out_XP = &space.out_XP[x * P + d];
        const float* weight_XL = &space.score_XL[x * TILE + l];
        Floats total[QUERIES][WIDTH];
#pragma GCC unroll 16
        for (int i = 0; i < QUERIES * WIDTH; ++i) total[i / WIDTH][i % WIDTH] = load(out_XP + i / WIDTH * P + i % WIDTH * LANES);
        for (int64_t key = 0; key < keys; ++key)
#pragma GCC unroll 4
            for (int w = 0; w < WIDTH; ++w) {
                const Floats value = load(v + key * distance + d + w * LANES);
#pragma GCC unroll 4
                for (int i = 0; i < QUERIES; ++i) total[i][w] += weight_XL[i * TILE + key] * value;
            }
#pragma GCC unroll 16
        for (int i = 0; i < QUERIES * WIDTH; ++i) store(out_XP + i / WIDTH * P + i % WIDTH * LANES, total[i / WIDTH][i % WIDTH]);
    }

    static void write(const AttentionArguments& a, const Piece& piece, const Workspace& space) {
        const int64_t G = a.num_heads / a.num_kv_heads, D = a.head_size;
        const float* from = space.out_XP;
        for (int64_t x = 0; x < G * piece.num_tokens; ++x, from += space.P) {
            const int64_t token = piece.first_token + x / G, head = piece.kv_head * G + x % G;
            T* to = (T*)a.out_THD + (token * a.num_heads + head) * D;
            for (int64_t d = 0; d < D; d += LANES) store(to + d, load(from + d) / space.sum_X[x], D - d);
        }
    }
};
