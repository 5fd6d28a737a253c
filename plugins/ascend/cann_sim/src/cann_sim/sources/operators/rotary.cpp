// Rotary position embeddings.
#include <ATen/ATen.h>

#include "limits.h"
#include "operator.h"

using namespace cann_sim;

namespace {

enum Mode : int64_t { half = 0, interleave = 1 };  // aclnnRotaryPositionEmbedding's encoding

// Each pair of elements turned by a quarter: half mode pairs element i with i + D/2, interleave mode with its neighbour.
Tensor quarter_turn(const Tensor& x, int64_t mode) {
    if (mode == half) {
        const auto halves = x.chunk(2, -1);
        return at::cat({-halves[1], halves[0]}, -1);
    }
    const Tensor pairs = x.unflatten(-1, {-1, 2});
    return at::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).flatten(-2);
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t mode) {
    const Tensor x_float = x.to(at::kFloat);
    return (x_float * cos + quarter_turn(x_float, mode) * sin).to(x.scalar_type());
}

Mode mode_named(const std::string& name) { return name == "interleave" ? interleave : half; }

// Both halves of a pair turn by the same angle, of which the cache holds one copy.
Tensor for_both(const Tensor& angles, bool neox_style) {
    return neox_style ? at::cat({angles, angles}, -1) : at::repeat_interleave(angles, 2, -1);
}

}  // namespace

OPERATOR(aclnnRotaryPositionEmbedding, [](Tensor x, Tensor cos, Tensor sin, int64_t mode, Tensor out) -> Work {
    limits::rotary_mul(x, cos, sin, mode);
    return [=] { write(out, rotate(x, cos, sin, mode)); };
})
OPERATOR(aclnnRotaryPositionEmbeddingV2, [](Tensor x, Tensor cos, Tensor sin, int64_t mode, OptionalTensor turn, Tensor out) -> Work {
    limits::rotary_mul(x, cos, sin, mode);
    return [=] { write(out, turn ? x * cos + at::matmul(x, *turn) * sin : rotate(x, cos, sin, mode)); };
})

OPERATOR(aclnnApplyRotaryPosEmb, [](Tensor query, Tensor key, Tensor cos, Tensor sin, int64_t layout) -> Work {
    limits::apply_rotary_pos_emb(query, key, cos, sin, layout, "half");
    return [=] {
        write(query, rotate(query, cos, sin, half));
        write(key, rotate(key, cos, sin, half));
    };
})
OPERATOR(aclnnApplyRotaryPosEmbV2, [](Tensor query, Tensor key, Tensor cos, Tensor sin, int64_t layout, std::string mode) -> Work {
    limits::apply_rotary_pos_emb(query, key, cos, sin, layout, mode);
    return [=] {
        write(query, rotate(query, cos, sin, mode_named(mode)));
        write(key, rotate(key, cos, sin, mode_named(mode)));
    };
})

OPERATOR(aclnnRopeWithSinCosCache, [](Tensor positions, Tensor query, Tensor key, Tensor cache, Ints, int64_t head_size, bool neox_style,
                                      Tensor query_out, Tensor key_out) {
    const auto angles = cache.index_select(0, positions.flatten().to(at::kLong)).chunk(2, -1);
    const Tensor cos = for_both(angles[0], neox_style).unsqueeze(1), sin = for_both(angles[1], neox_style).unsqueeze(1);
    const auto turned = [&](const Tensor& x) {
        const Tensor heads = x.reshape({x.size(0), -1, head_size}).clone();
        const Tensor part = heads.narrow(-1, 0, cos.size(-1));
        part.copy_(rotate(part, cos, sin, neox_style ? half : interleave));
        return heads;
    };
    write(query_out, turned(query));
    write(key_out, turned(key));
})
