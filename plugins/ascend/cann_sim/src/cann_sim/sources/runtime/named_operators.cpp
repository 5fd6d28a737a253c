// Operators by name (aclop): the older way to launch, which torch_npu still takes for changing a tensor's layout.
#include "common/simulator.h"

#include <acl/acl_op_compiler.h>

#include <cstring>
#include <string>
#include <vector>

using namespace cann_sim;

struct aclTensorDesc {
    aclDataType type;
    aclFormat format;
    std::vector<int64_t> shape;
    std::string name;
};

struct aclDataBuffer {
    void* address;
    size_t bytes;
};

struct aclopAttr {};

CANN_API aclTensorDesc* aclCreateTensorDesc(aclDataType type, int dimensions, const int64_t* shape, aclFormat format) {
    return new aclTensorDesc{type, format, std::vector<int64_t>(shape, shape + dimensions), ""};
}
CANN_API void aclDestroyTensorDesc(const aclTensorDesc* tensor) { delete tensor; }
CANN_API size_t aclGetTensorDescNumDims(const aclTensorDesc* tensor) { return tensor->shape.size(); }
CANN_API aclError aclGetTensorDescDimV2(const aclTensorDesc* tensor, size_t index, int64_t* size) {
    if (index >= tensor->shape.size()) return report(ACL_ERROR_INVALID_PARAM, "aclGetTensorDescDimV2: there is no such dimension");
    *size = tensor->shape[index];
    return ACL_SUCCESS;
}
CANN_API aclFormat aclGetTensorDescFormat(const aclTensorDesc* tensor) { return tensor->format; }
CANN_API aclDataType aclGetTensorDescType(const aclTensorDesc* tensor) { return tensor->type; }
CANN_API void aclSetTensorDescName(aclTensorDesc* tensor, const char* name) { tensor->name = name; }
CANN_API aclError aclSetTensorFormat(aclTensorDesc*, aclFormat) { return ACL_SUCCESS; }
CANN_API aclError aclSetTensorPlaceMent(aclTensorDesc*, aclMemType) { return ACL_SUCCESS; }
CANN_API aclError aclSetTensorShape(aclTensorDesc*, int, const int64_t*) { return ACL_SUCCESS; }

CANN_API aclDataBuffer* aclCreateDataBuffer(void* address, size_t bytes) { return new aclDataBuffer{address, bytes}; }
CANN_API aclError aclDestroyDataBuffer(const aclDataBuffer* buffer) {
    delete buffer;
    return ACL_SUCCESS;
}

CANN_API aclopAttr* aclopCreateAttr() { return new aclopAttr; }
CANN_API void aclopDestroyAttr(const aclopAttr* attributes) { delete attributes; }
CANN_API aclError aclopSetAttrBool(aclopAttr*, const char*, uint8_t) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrDataType(aclopAttr*, const char*, aclDataType) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrFloat(aclopAttr*, const char*, float) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrInt(aclopAttr*, const char*, int64_t) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrString(aclopAttr*, const char*, const char*) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrListBool(aclopAttr*, const char*, int, const uint8_t*) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrListFloat(aclopAttr*, const char*, int, const float*) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrListInt(aclopAttr*, const char*, int, const int64_t*) { return ACL_SUCCESS; }
CANN_API aclError aclopSetAttrListListInt(aclopAttr*, const char*, int, const int*, const int64_t* const*) { return ACL_SUCCESS; }

namespace {

// Layouts are not simulated: a tensor in the NZ layout keeps its elements in plain order, so that changing the layout is
// a copy.
aclError run(const std::string& name, const aclDataBuffer& source, const aclDataBuffer& target, aclrtStream stream) {
    if (name != "Identity" && name != "TransData") {
        return report(ACL_ERROR_OP_NOT_FOUND, "the operator '" + name + "' (launched by name) is not simulated");
    }
    const aclDataBuffer from = source;
    const aclDataBuffer to = target;
    const size_t bytes = std::min(from.bytes, to.bytes);
    return enqueue(stream, {name, bytes}, [=] { std::memmove(host_alias(to.address), host_alias(from.address), bytes); });
}

}  // namespace

CANN_API aclError aclopCompileAndExecute(const char* name, int, const aclTensorDesc* const[], const aclDataBuffer* const inputs[], int,
                                         const aclTensorDesc* const[], aclDataBuffer* const outputs[], const aclopAttr*, aclopEngineType,
                                         aclopCompileType, const char*, aclrtStream stream) {
    return run(name, *inputs[0], *outputs[0], stream);
}

CANN_API aclError aclopCompileAndExecuteV2(const char* name, int, aclTensorDesc*[], aclDataBuffer* inputs[], int, aclTensorDesc*[],
                                           aclDataBuffer* outputs[], aclopAttr*, aclopEngineType, aclopCompileType, const char*,
                                           aclrtStream stream) {
    return run(name, *inputs[0], *outputs[0], stream);
}
