// How a step is cut so that all threads have work, and no more memory than its pieces need.

#include "plan.h"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace {

constexpr int64_t WORTH_A_THREAD = 1 << 20;  // products of a query's number and a key's

struct alignas(64) Line {
    float numbers[16];
};

std::vector<Piece> cut(const AttentionArguments& a) {
    std::vector<Piece> pieces;
    for (int64_t row = a.num_rows - 1; row >= 0; --row) {  // prompts come last, and take longest
        const int64_t start = a.query_start_N1[row], end = a.query_start_N1[row + 1];
        for (int64_t token = start; token < end; token += MOST_TOKENS)
            for (int64_t kv_head = 0; kv_head < a.num_kv_heads; ++kv_head)
                pieces.push_back({row, kv_head, token, std::min(MOST_TOKENS, end - token)});
    }
    return pieces;
}

int64_t products(const AttentionArguments& a) {
    int64_t pairs = 0;
    for (int64_t row = 0; row < a.num_rows; ++row)
        pairs += (a.query_start_N1[row + 1] - a.query_start_N1[row]) * a.seq_lens_N[row];
    return pairs * a.num_heads * a.head_size;
}

int64_t most_tokens(const std::vector<Piece>& pieces) {
    int64_t most = 0;
    for (const Piece& piece : pieces) most = std::max(most, piece.num_tokens);
    return most;
}

}  // namespace

void attend(const Kernels& kernels, Type type, AttentionArguments a) {
    const std::vector<Piece> pieces = cut(a);
    AttentionPlan& plan = a.plan;
    plan.pieces = pieces.data(), plan.num_pieces = pieces.size();
    plan.is_parallel = plan.num_pieces > 1 && products(a) > WORTH_A_THREAD;
    const int64_t threads = plan.is_parallel ? omp_get_max_threads() : 1;
    // Neighbours, so that a thread fetches ahead what it will read itself; but few enough that no thread goes without.
    plan.pieces_at_a_time = std::clamp<int64_t>(plan.num_pieces / (4 * threads), 1, 4);
    plan.P = (a.head_size + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
    plan.most_queries = most_tokens(pieces) * (a.num_heads / a.num_kv_heads);
    const int64_t lines = Workspace::floats(plan, kernels.tile) / 16 + 1;
    const std::unique_ptr<Line[]> memory(new Line[threads * lines]);  // whoever reads it has written it
    plan.memory = memory[0].numbers, plan.floats_per_thread = 16 * lines;
    kernels.attention(type, a);
}
