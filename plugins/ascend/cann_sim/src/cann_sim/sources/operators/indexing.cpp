// Operators that gather or scatter by index, and those that find indices.
#include <ATen/ATen.h>

#include <algorithm>

#include "operator.h"

using namespace cann_sim;

namespace {

// An empty index tensor stands for a dimension that is taken whole: torch_npu has no other way to say so. That a real index is empty
// shows in the result.
c10::List<OptionalTensor> index_list(const OptionalTensorList& indices) {
    c10::List<OptionalTensor> list;
    for (const OptionalTensor& index : indices) {
        const bool whole = !index.has_value() || index->numel() == 0;
        list.push_back(whole ? OptionalTensor() : index->scalar_type() == at::kBool ? index : index->to(at::kLong));
    }
    return list;
}

// torch_npu's encoding of torch.scatter's reduce.
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source, int64_t reduction) {
    if (reduction == 0) return at::scatter(x, dim, index, source);
    return at::scatter(x, dim, index, source, reduction == 1 ? "add" : "multiply");
}

Tensor to_long(const Tensor& index) { return index.to(at::kLong); }

}  // namespace

OPERATOR(aclnnIndex, [](Tensor x, OptionalTensorList indices, Tensor out) {
    if (out.numel()) write(out, at::index(x, index_list(indices)));
})
OPERATOR(aclnnIndexPutImpl, [](Tensor x, OptionalTensorList indices, Tensor values, bool accumulate, bool) {
    const auto list = index_list(indices);
    const auto present = [](const OptionalTensor& index) { return index.has_value(); };
    if (std::any_of(list.begin(), list.end(), present)) x.index_put_(list, values, accumulate);
})
OPERATOR(aclnnIndexSelect, [](Tensor x, int64_t dim, Tensor index, Tensor out) { write(out, at::index_select(x, dim, index)); })
OPERATOR(aclnnEmbedding, [](Tensor weight, Tensor index, Tensor out) { write(out, at::embedding(weight, to_long(index))); })
OPERATOR(aclnnGather, [](Tensor x, int64_t dim, Tensor index, Tensor out) { write(out, at::gather(x, dim, to_long(index))); })
OPERATOR(aclnnTake, [](Tensor x, Tensor index, Tensor out) { write(out, at::take(x, to_long(index))); })
OPERATOR(aclnnInplacePut, [](Tensor x, Tensor index, Tensor source, bool accumulate) { x.put_(to_long(index), source, accumulate); })

OPERATOR(aclnnScatter, [](Tensor x, int64_t dim, Tensor index, Tensor source, int64_t reduction, Tensor out) {
    write(out, scatter(x, dim, to_long(index), source, reduction));
})
OPERATOR(aclnnInplaceScatter, [](Tensor x, int64_t dim, Tensor index, Tensor source, int64_t reduction) {
    write(x, scatter(x, dim, to_long(index), source, reduction));
})
OPERATOR(aclnnScatterValue, [](Tensor x, int64_t dim, Tensor index, Scalar value, int64_t, Tensor out) {
    write(out, at::scatter(x, dim, to_long(index), value));
})
OPERATOR(aclnnInplaceScatterValue, [](Tensor x, int64_t dim, Tensor index, Scalar value, int64_t) {
    x.scatter_(dim, to_long(index), value);
})
OPERATOR(aclnnScatterAdd, [](Tensor x, int64_t dim, Tensor index, Tensor source, Tensor out) {
    write(out, at::scatter_add(x, dim, to_long(index), source));
})
OPERATOR(aclnnScatterNdUpdate, [](Tensor x, Tensor index, Tensor updates) {
    const Tensor columns = to_long(index).reshape({-1, index.size(-1)});
    c10::List<OptionalTensor> list;
    for (int64_t i = 0; i < columns.size(1); i++) list.push_back(OptionalTensor(columns.select(1, i)));
    Tensor rows = at::index(x, list);
    x.index_put_(list, updates.reshape(rows.sizes()));
})

OPERATOR(aclnnIndexAdd, [](Tensor x, int64_t dim, Tensor index, Tensor source, Scalar alpha, Tensor out) {
    write(out, at::index_add(x, dim, index, source, alpha));
})
OPERATOR(aclnnIndexCopy, [](Tensor x, int64_t dim, Tensor index, Tensor source, Tensor out) {
    write(out, at::index_copy(x, dim, to_long(index), source));
})
OPERATOR(aclnnInplaceIndexCopy, [](Tensor x, int64_t dim, Tensor index, Tensor source) { x.index_copy_(dim, to_long(index), source); })
OPERATOR(aclnnIndexFillTensor, [](Tensor x, int64_t dim, Ints index, Scalar value, Tensor out) {
    write(out, at::index_fill(x, dim, at::tensor(index), value));
})
OPERATOR(aclnnInplaceIndexFillTensor, [](Tensor x, int64_t dim, Ints index, Scalar value) {
    x.index_fill_(dim, at::tensor(index), value);
})
OPERATOR(aclnnIndexFill, [](Tensor x, int64_t dim, Tensor index, Scalar value, Tensor out) {
    write(out, at::index_fill(x, dim, to_long(index), value));
})
OPERATOR(aclnnInplaceIndexFill, [](Tensor x, int64_t dim, Tensor index, Scalar value) { x.index_fill_(dim, to_long(index), value); })
OPERATOR(aclnnInplaceMaskedScatter, [](Tensor x, Tensor mask, Tensor source) { x.masked_scatter_(mask, source); })

OPERATOR(aclnnSearchSorted, [](Tensor sorted, Tensor x, bool int32, bool right, OptionalTensor sorter, Tensor out) {
    write(out, at::searchsorted(sorted, x, int32, right, std::nullopt, sorter));
})
OPERATOR(aclnnSearchSorteds, [](Tensor sorted, Scalar x, bool int32, bool right, OptionalTensor sorter, Tensor out) {
    write(out, at::searchsorted(sorted, x, int32, right, std::nullopt, sorter));
})
OPERATOR(aclnnBucketize, [](Tensor x, Tensor boundaries, bool int32, bool right, Tensor out) {
    write(out, at::bucketize(x, boundaries, int32, right));
})
OPERATOR(aclnnIsInTensorScalar, [](Tensor x, Scalar value, bool unique, bool invert, Tensor out) {
    write(out, at::isin(x, value, unique, invert));
})
OPERATOR(aclnnIsInScalarTensor, [](Scalar value, Tensor x, bool unique, bool invert, Tensor out) {
    write(out, at::isin(value, x, unique, invert));
})

// Sizes that depend on data.
OPERATOR(aclnnNonzero, [](Tensor x, SizedByData out) { out.set(at::nonzero(x)); })
OPERATOR(aclnnNonzeroV2, [](Tensor x, SizedByData out) { out.set(at::nonzero(x).t()); })
OPERATOR(aclnnMaskedSelect, [](Tensor x, Tensor mask, SizedByData out) { out.set(at::masked_select(x, mask)); })
OPERATOR(aclnnUnique2, [](Tensor x, bool sorted, bool inverse, bool counts, SizedByData out, SizedByData inverse_out, SizedByData counts_out) {
    const auto [values, inverse_values, count_values] = at::_unique2(x, sorted, inverse, counts);
    out.set(values);
    if (inverse) inverse_out.set(inverse_values);
    if (counts) counts_out.set(count_values);
})
OPERATOR(aclnnUniqueConsecutive, [](Tensor x, bool inverse, bool counts, int64_t dim, SizedByData out, SizedByData inverse_out,
                                    SizedByData counts_out) {
    const auto along = dim == 1000 ? std::nullopt : std::optional(dim);  // torch_npu says 1000 for "no dimension"
    const auto [values, inverse_values, count_values] = at::unique_consecutive(x, inverse, counts, along);
    out.set(values);
    if (inverse) inverse_out.set(inverse_values);
    if (counts) counts_out.set(count_values);
})
