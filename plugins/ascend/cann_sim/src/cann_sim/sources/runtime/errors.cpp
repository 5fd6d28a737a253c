// Error state: the sentence behind the latest error code, as aclGetRecentErrMsg() hands it out.
#include "common/faults.h"
#include "common/simulator.h"
#include "runtime/counters.h"
#include "runtime/devices.h"

#include <mutex>

namespace cann_sim {
namespace {

// torch_npu launches from a thread of its own and asks for the message from the thread that raises, so the message
// belongs to the process. The thread that met the error last still prefers its own.
struct Messages {
    std::mutex mutex;
    std::string latest;
};

Messages& messages() {
    static Messages* const instance = new Messages;
    return *instance;
}

thread_local std::string own_message;
thread_local aclError last_code = ACL_SUCCESS;

}  // namespace

aclError report(aclError code, const std::string& message) {
    own_message = message + " [cann_sim, error " + std::to_string(code) + "]";
    last_code = code;
    trace(own_message);
    std::lock_guard<std::mutex> lock(messages().mutex);
    messages().latest = own_message;
    return code;
}

aclError before_operation(const std::string& name, uint64_t bytes) {
    const int device = current_device();
    count_call(name);
    if (settings().trace) trace("call on device " + std::to_string(device) + ": " + name + " " + std::to_string(bytes) + " bytes");
    const Fault fault = fault_at_call(name, device);
    if (fault.action == FaultAction::none) return ACL_SUCCESS;
    const bool memory = fault.action == FaultAction::oom;
    return report(memory ? ACL_ERROR_RT_MEMORY_ALLOCATION : ACL_ERROR_RT_PARAM_INVALID,
                  name + " on device " + std::to_string(device) + (memory ? " is out of memory" : " was refused") +
                      " by the fault rule '" + fault.rule + "'");
}

}  // namespace cann_sim

CANN_API const char* aclGetRecentErrMsg() {
    using namespace cann_sim;
    thread_local std::string answer;
    std::lock_guard<std::mutex> lock(messages().mutex);
    answer = own_message.empty() ? messages().latest : own_message;
    own_message.clear();
    messages().latest.clear();
    return answer.c_str();
}

CANN_API aclError aclrtPeekAtLastError(aclrtLastErrLevel) { return cann_sim::last_code; }

CANN_API aclError aclrtGetLastError(aclrtLastErrLevel) {
    const aclError code = cann_sim::last_code;
    cann_sim::last_code = ACL_SUCCESS;
    return code;
}
