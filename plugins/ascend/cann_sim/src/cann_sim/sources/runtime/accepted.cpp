// Settings of the real runtime that change nothing here: accepted, and where they can be read back, remembered.
#include "common/simulator.h"

#include <acl/acl_op_compiler.h>

#include <cstdarg>
#include <cstring>
#include <map>
#include <mutex>

using namespace cann_sim;

namespace {

struct Options {
    std::mutex mutex;
    std::map<int, int64_t> values;
};

Options& options() {
    static Options* const all = new Options;
    return *all;
}

aclError remember(aclSysParamOpt option, int64_t value) {
    std::lock_guard<std::mutex> lock(options().mutex);
    options().values[option] = value;
    return ACL_SUCCESS;
}

aclError recall(aclSysParamOpt option, int64_t* value) {
    std::lock_guard<std::mutex> lock(options().mutex);
    *value = options().values[option];
    return ACL_SUCCESS;
}

}  // namespace

CANN_API aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value) { return remember(option, value); }
CANN_API aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value) { return remember(option, value); }
CANN_API aclError aclrtGetSysParamOpt(aclSysParamOpt option, int64_t* value) { return recall(option, value); }
CANN_API aclError aclrtCtxGetSysParamOpt(aclSysParamOpt option, int64_t* value) { return recall(option, value); }

CANN_API aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode) { return ACL_SUCCESS; }
CANN_API aclError aclrtSetOpExecuteTimeOut(uint32_t) { return ACL_SUCCESS; }
CANN_API aclError aclrtSetOpWaitTimeout(uint32_t) { return ACL_SUCCESS; }
CANN_API aclError aclrtSetStreamAttribute(aclrtStream, aclrtStreamAttr, aclrtStreamAttrValue*) { return ACL_SUCCESS; }
CANN_API aclError aclrtUseStreamResInCurrentThread(aclrtStream) { return ACL_SUCCESS; }
CANN_API aclError aclrtUnuseStreamResInCurrentThread(aclrtStream) { return ACL_SUCCESS; }
CANN_API aclError aclrtSetStreamOverflowSwitch(aclrtStream, uint32_t) { return ACL_SUCCESS; }

CANN_API aclError aclrtGetStreamOverflowSwitch(aclrtStream, uint32_t* flag) {
    *flag = 0;
    return ACL_SUCCESS;
}

CANN_API aclError aclSetCompileopt(aclCompileOpt, const char*) { return ACL_SUCCESS; }
CANN_API size_t aclGetCompileoptSize(aclCompileOpt) { return std::strlen("disable") + 1; }

CANN_API aclError aclGetCompileopt(aclCompileOpt, char* value, size_t size) {
    std::strncpy(value, "disable", size);
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlInitDump() { return ACL_SUCCESS; }
CANN_API aclError aclmdlFinalizeDump() { return ACL_SUCCESS; }
CANN_API aclError aclmdlSetDump(const char*) { return ACL_SUCCESS; }

// What torch_npu writes to the vendor's log; shown where the trace is.
CANN_API void aclAppLog(aclLogLevel level, const char* function, const char*, uint32_t line, const char* format, ...) {
    if (!settings().trace || level < ACL_WARNING) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    trace(std::string("log: ") + function + ":" + std::to_string(line) + " " + text);
}
