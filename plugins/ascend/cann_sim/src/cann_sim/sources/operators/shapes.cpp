// Operators that move elements without changing them: concatenation, repetition, flips, padding, triangles.
#include <ATen/ATen.h>

#include "operator.h"

using namespace cann_sim;

OPERATOR(aclnnCat, [](TensorList tensors, int64_t dim, Tensor out) { write(out, at::cat(tensors, dim)); })
OPERATOR(aclnnStack, [](TensorList tensors, int64_t dim, Tensor out) { write(out, at::stack(tensors, dim)); })
OPERATOR(aclnnSplitWithSize, [](Tensor x, Ints sizes, int64_t dim, TensorList out) {
    const auto parts = at::split_with_sizes(x, sizes, dim);
    for (size_t i = 0; i < out.size(); i++) write(out[i], parts[i]);
})
OPERATOR(aclnnRepeat, [](Tensor x, Ints repeats, Tensor out) { write(out, x.repeat(repeats)); })
OPERATOR(aclnnRepeatInterleave, [](Tensor x, Tensor repeats, int64_t, Tensor out) {
    write(out, at::repeat_interleave(x.flatten(), repeats.to(at::kLong)));
})
OPERATOR(aclnnRepeatInterleaveWithDim, [](Tensor x, Tensor repeats, int64_t dim, int64_t, Tensor out) {
    write(out, at::repeat_interleave(x, repeats.to(at::kLong), dim));
})
OPERATOR(aclnnRepeatInterleaveInt, [](Tensor x, int64_t repeats, int64_t, Tensor out) {
    write(out, at::repeat_interleave(x.flatten(), repeats));
})
OPERATOR(aclnnRepeatInterleaveIntWithDim, [](Tensor x, int64_t repeats, int64_t dim, int64_t, Tensor out) {
    write(out, at::repeat_interleave(x, repeats, dim));
})
OPERATOR(aclnnRepeatInterleaveTensor, [](Tensor repeats, int64_t, Tensor out) { write(out, at::repeat_interleave(repeats)); })
OPERATOR(aclnnFlip, [](Tensor x, Ints dims, Tensor out) { write(out, at::flip(x, dims)); })
OPERATOR(aclnnRoll, [](Tensor x, Ints shifts, Ints dims, Tensor out) { write(out, at::roll(x, shifts, dims)); })
OPERATOR(aclnnConstantPadNd, [](Tensor x, Ints pads, Scalar value, Tensor out) { write(out, at::constant_pad_nd(x, pads, value)); })
OPERATOR(aclnnTril, [](Tensor x, int64_t diagonal, Tensor out) { write(out, at::tril(x, diagonal)); })
OPERATOR(aclnnTriu, [](Tensor x, int64_t diagonal, Tensor out) { write(out, at::triu(x, diagonal)); })
OPERATOR(aclnnInplaceTril, [](Tensor x, int64_t diagonal) { write(x, at::tril(x, diagonal)); })
OPERATOR(aclnnInplaceTriu, [](Tensor x, int64_t diagonal) { write(x, at::triu(x, diagonal)); })
OPERATOR(aclnnOneHot, [](Tensor x, int64_t num_classes, Tensor on, Tensor off, int64_t axis, Tensor out) {
    const Tensor hot = at::one_hot(x.to(at::kLong), num_classes).to(at::kBool);
    write(out, at::where(axis == -1 ? hot : hot.movedim(-1, axis), on.reshape({}), off.reshape({})));
})
