// Owns what Python hands to the kernels: addresses, sizes, distances between rows. One struct per kernel; no kernel owns memory.
//
// Legend: T tokens, N rows (requests), H query heads, K key/value heads, D head size (P: padded to whole vectors), I inputs (of a
// gated activation: its size), O outputs, V vocabulary. Distances are in elements.

#pragma once

#include <cstdint>

enum class Type : int { float32 = 0, bfloat16 = 1, float16 = 2 };

// Some queries of one row and one key/value head.
struct Piece {
    int64_t row, kv_head, first_token, num_tokens;
};

// How a step's attention is cut and where it is computed; made by plan.cpp.
struct AttentionPlan {
    const Piece* pieces;
    int64_t num_pieces, pieces_at_a_time;
    bool is_parallel;
    int64_t P, most_queries;  // of a piece, over all heads that share its key/value head
    float* memory;            // see Workspace in plan.h
    int64_t floats_per_thread;
};

struct AttentionArguments {
    void* out_THD;
    const void* q_THD;
    int64_t q_token_distance, q_head_distance;
    const void* k_TKD;
    int64_t k_token_distance, k_head_distance;
    const void* v_TKD;
    int64_t v_token_distance, v_head_distance;
    void* k_cache;  // [blocks, K, D, block_size]
    void* v_cache;  // [blocks, K, block_size, D]
    const int64_t* slot_mapping_T;
    const int64_t* query_start_N1;
    const int64_t* seq_lens_N;
    const int32_t* block_table_NB;
    int64_t table_distance;
    int64_t num_slots, num_rows, num_heads, num_kv_heads, head_size, block_size;
    double scale;
    int64_t sliding_window;  // 0: none
    double logits_soft_cap;  // 0: none
    AttentionPlan plan;
};

struct NormArguments {
    void* out;
    void* sum;             // x + residual; null without a residual
    const void* x;
    const void* residual;  // null: none
    const void* weight;
    int64_t num_rows, size;
    double epsilon;
};

struct RotaryArguments {
    void* out_THD;
    const void* x_THD;
    int64_t x_token_distance, x_head_distance;
    const void* cos_TR;
    const void* sin_TR;
    int64_t angle_distance;  // between tokens, of both
    int64_t num_tokens, num_heads, head_size, rotary_size;
};

struct GatedArguments {
    void* out_TI;
    const void* gate_up_T2I;
    int64_t distance;  // between tokens
    int64_t num_tokens, size;
};

struct MostLikelyArguments {
    int64_t* index_N;
    const void* logits_NV;
    int64_t distance;  // between rows
    int64_t num_rows, size;
};

struct LinearArguments {
    void* out_TO;
    const void* x_TI;
    int64_t x_distance;    // between tokens
    const void* weight;    // [panels, I/2, PANEL_OUTPUTS, 2]: see linear.h
    const void* bias_O;    // null: none
    int64_t num_tokens, num_inputs, num_outputs;
};

static constexpr int64_t PANEL_OUTPUTS = 64;

// The kernels for one instruction set.
struct Kernels {
    const char* instruction_set;
    int64_t lanes;  // floats of a vector
    int64_t tile;   // keys that attention takes at a time
    void (*attention)(Type, const AttentionArguments&);
    void (*rms_norm)(Type, const NormArguments&);
    void (*rotary)(Type, const RotaryArguments&);
    void (*silu_and_mul)(Type, const GatedArguments&);
    void (*most_likely)(Type, const MostLikelyArguments&);
    void (*linear)(Type, const LinearArguments&);  // of bfloat16; null where the set has no instructions for it
};

extern const Kernels PLAIN;
#ifdef __x86_64__
extern const Kernels AVX2;
extern const Kernels AVX512, AVX512_BF16;
#endif
