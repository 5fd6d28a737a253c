// Owns the plan of a step's attention: everything that allocates, and so may throw, which nothing may inside a parallel region.
//
// Legend: H query heads, K key/value heads, D head size (P: padded to whole vectors), X queries of a piece (of all heads that share the
// key/value head), L keys of a tile.

#pragma once

#include "arguments.h"

static constexpr int64_t MOST_TOKENS = 64;  // of one row in a piece

// What one thread computes a piece in: its part of the plan's memory.
struct Workspace {
    float *q_XP, *out_XP, *k_PL, *v_LP, *score_XL, *maximum_X, *sum_X;
    int64_t P;

    static int64_t floats(const AttentionPlan& plan, int64_t tile) {
        return plan.most_queries * (2 * plan.P + tile + 2) + 2 * tile * plan.P;
    }

    Workspace(const AttentionPlan& plan, int64_t tile, int64_t thread) : P(plan.P) {
        q_XP = plan.memory + thread * plan.floats_per_thread;
        out_XP = q_XP + plan.most_queries * P;
        k_PL = out_XP + plan.most_queries * P;
        v_LP = k_PL + tile * P;
        score_XL = v_LP + tile * P;
        maximum_X = score_XL + plan.most_queries * tile;
        sum_X = maximum_X + plan.most_queries;
    }
};

// With a plan: one layer's attention.
void attend(const Kernels& kernels, Type type, AttentionArguments a);
