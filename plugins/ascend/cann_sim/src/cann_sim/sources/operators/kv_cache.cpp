// Writes into and reads from the paged KV cache.
#include <ATen/ATen.h>

#include <limits>

#include "limits.h"
#include "operator.h"

using namespace cann_sim;

namespace {

// What lies in a slot that two tokens write is not defined; NaN, so that whoever reads it notices.
void spoil_doubly_written(const Tensor& cache_rows, const Tensor& slots) {
    if (!cache_rows.is_floating_point()) return;
    const auto [unique, inverse, counts] = at::_unique2(slots, true, false, true);
    const Tensor doubly = unique.masked_select(counts.gt(1));
    if (doubly.numel()) cache_rows.index_fill_(0, doubly, std::numeric_limits<double>::quiet_NaN());
}

void scatter_rows(const Tensor& cache, const Tensor& rows, const Tensor& slots) {
    const Tensor cache_rows = cache.flatten(0, 1);  // [num_blocks * block_size, heads, head size]
    cache_rows.index_copy_(0, slots, rows.reshape({-1, cache_rows.size(1), cache_rows.size(2)}));
    spoil_doubly_written(cache_rows, slots);
}

// Memory in tiles: [num_blocks, heads * head size / 16, block_size, 16]; a token's row is strided.
void scatter_tiles(const Tensor& cache, const Tensor& rows, const Tensor& slots) {
    const Tensor by_slot = cache.permute({0, 2, 1, 3});  // [num_blocks, block_size, H1, H0]
    const Tensor block = at::floor_divide(slots, cache.size(2)), offset = at::remainder(slots, cache.size(2));
    const Tensor tiles = rows.reshape({slots.size(0), by_slot.size(2), by_slot.size(3)});
    c10::List<OptionalTensor> where;
    where.push_back(OptionalTensor(block));
    where.push_back(OptionalTensor(offset));
    at::Tensor(by_slot).index_put_(where, tiles);
}

}  // namespace

OPERATOR(aclnnScatterPaKvCache, [](Tensor key, Tensor key_cache, Tensor slots, Tensor value, Tensor value_cache, OptionalTensor,
                                   OptionalTensor, OptionalTensor, std::string cache_mode, std::string, OptionalInts, OptionalInts) -> Work {
    limits::scatter_pa_kv_cache(key, value, key_cache, value_cache, slots, cache_mode);
    const bool tiled = cache_mode == "PA_NZ";
    const int64_t num_slots = key_cache.size(0) * key_cache.size(tiled ? 2 : 1);
    const auto scatter = tiled ? scatter_tiles : scatter_rows;
    return [=] {
        limits::slot_values(slots, num_slots);
        scatter(key_cache, key, slots.to(at::kLong));
        scatter(value_cache, value, slots.to(at::kLong));
    };
})
