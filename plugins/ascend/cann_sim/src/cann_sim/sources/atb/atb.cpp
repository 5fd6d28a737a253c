// libatb: only what `import torch_npu` needs to find. The vendor publishes no headers for it, so its operators (the
// `atb::` ones of torch_npu) cannot be simulated; creating one is refused with a sentence.
#include "common/simulator.h"

namespace atb {

class Context;
class Operation;
struct Tensor;

namespace infer {
struct LinearParam;
struct ElewiseParam;
struct RmsNormParam;
struct GroupTopkParam;
struct SelfAttentionParam;
struct PagedAttentionParam;
struct ReshapeAndCacheParam;
struct RopeParam;
}  // namespace infer

namespace {
int refuse() {
    return cann_sim::report(ACL_ERROR_RT_FEATURE_NOT_SUPPORT,
                            "operators of the Ascend Transformer Boost library (atb) are not simulated; use their aclnn twins, for "
                            "example npu_fused_infer_attention_score and npu_scatter_pa_kv_cache");
}
}  // namespace

CANN_SIM_EXPORT int CreateContext(Context**) { return refuse(); }
CANN_SIM_EXPORT int DestroyContext(Context*) { return 0; }
CANN_SIM_EXPORT int DestroyOperation(Operation*) { return 0; }

class Utils {
public:
    CANN_SIM_EXPORT static uint64_t GetTensorSize(const Tensor&);
};
uint64_t Utils::GetTensorSize(const Tensor&) { return 0; }

template <class Parameters>
CANN_SIM_EXPORT int CreateOperation(const Parameters&, Operation**) {
    return refuse();
}

template CANN_SIM_EXPORT int CreateOperation(const infer::LinearParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::ElewiseParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::RmsNormParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::GroupTopkParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::SelfAttentionParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::PagedAttentionParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::ReshapeAndCacheParam&, Operation**);
template CANN_SIM_EXPORT int CreateOperation(const infer::RopeParam&, Operation**);

}  // namespace atb
