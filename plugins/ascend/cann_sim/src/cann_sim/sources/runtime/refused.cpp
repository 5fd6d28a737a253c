// What is not simulated: kernels that come as machine code, and memory shared between processes. Each call says so.
#include "common/simulator.h"

using namespace cann_sim;

namespace {

aclError refuse(const std::string& function, const std::string& what) {
    return report(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, function + " is not simulated: " + what);
}

const char* const MACHINE_CODE = "kernels that come as machine code (AscendC, Triton) need an NPU";
const char* const SHARED = "memory is not shared between processes; use collectives";

}  // namespace

CANN_API aclError aclrtBinaryLoadFromData(const void*, size_t, const aclrtBinaryLoadOptions*, aclrtBinHandle*) {
    return refuse("aclrtBinaryLoadFromData", MACHINE_CODE);
}
CANN_API aclError aclrtBinaryGetFunction(const aclrtBinHandle, const char*, aclrtFuncHandle*) {
    return refuse("aclrtBinaryGetFunction", MACHINE_CODE);
}
CANN_API aclError aclrtGetFunctionAddr(aclrtFuncHandle, void**, void**) { return refuse("aclrtGetFunctionAddr", MACHINE_CODE); }

CANN_API int rtDevBinaryRegister() { return refuse("rtDevBinaryRegister", MACHINE_CODE); }
CANN_API int rtFunctionRegister() { return refuse("rtFunctionRegister", MACHINE_CODE); }
CANN_API int rtKernelLaunch() { return refuse("rtKernelLaunch", MACHINE_CODE); }
CANN_API int rtGetC2cCtrlAddr() { return refuse("rtGetC2cCtrlAddr", MACHINE_CODE); }

CANN_API aclError aclrtMemExportToShareableHandle(aclrtDrvMemHandle, aclrtMemHandleType, uint64_t, uint64_t*) {
    return refuse("aclrtMemExportToShareableHandle", SHARED);
}
CANN_API aclError aclrtMemImportFromShareableHandle(uint64_t, int32_t, aclrtDrvMemHandle*) {
    return refuse("aclrtMemImportFromShareableHandle", SHARED);
}
CANN_API aclError aclrtMemSetPidToShareableHandle(uint64_t, int32_t*, size_t) {
    return refuse("aclrtMemSetPidToShareableHandle", SHARED);
}
