// The cast between ND and FRACTAL_NZ.
#include "formats.h"

#include "../common/simulator.h"
#include "operator.h"

namespace cann_sim {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileRowBytes = 32;

int64_t quotient_rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

}  // namespace

bool is_nz(const FormattedTensor& tensor) { return tensor.format == ACL_FORMAT_FRACTAL_NZ; }

Shape nz_storage_shape(const Shape& shape, int64_t element_bytes) {
    TORCH_CHECK(shape.size() >= 2, "FRACTAL_NZ needs a matrix, not a tensor of ", shape.size(), " dimensions");
    const int64_t tile_columns = kTileRowBytes / element_bytes;
    const int64_t rows = shape.end()[-2], columns = shape.end()[-1];
    Shape storage(shape.begin(), shape.end() - 2);
    storage.insert(storage.end(), {quotient_rounded_up(columns, tile_columns), quotient_rounded_up(rows, kTileRows), kTileRows, tile_columns});
    return storage;
}

}  // namespace cann_sim

using namespace cann_sim;

OPERATOR(aclnnNpuFormatCast, [](FormattedTensor from, FormattedTensor to) { write(to.view, from.view); })

// The caller frees the shape with delete[].
CANN_API int aclnnNpuFormatCastCalculateSizeAndFormat(const aclTensor* tensor, int format, int, int64_t** shape, uint64_t* num_dims,
                                                      int* actual_format) {
    const Shape plain = tensor->view.sizes().vec();
    const Shape storage = format == ACL_FORMAT_FRACTAL_NZ ? nz_storage_shape(plain, tensor->view.element_size()) : plain;
    *shape = new int64_t[storage.size() + 1];
    std::copy(storage.begin(), storage.end(), *shape);
    *num_dims = storage.size();
    *actual_format = format;
    return 0;
}
