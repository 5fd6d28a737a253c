// aclrtValueWrite and aclrtValueWait: streams that wait for a number in device memory.
#include "runtime/capture.h"

#include <atomic>

using namespace cann_sim;

namespace {

std::atomic_ref<uint64_t> number_at(void* address) { return std::atomic_ref(*static_cast<uint64_t*>(host_alias(address))); }

bool fits(uint64_t found, uint64_t value, uint32_t flag) {
    switch (flag) {
        case ACL_STREAM_WAIT_VALUE_GEQ:
            return static_cast<int64_t>(found - value) >= 0;
        case ACL_STREAM_WAIT_VALUE_EQ:
            return found == value;
        case ACL_STREAM_WAIT_VALUE_AND:
            return (found & value) != 0;
        default:
            return ~(found | value) != 0;
    }
}

}  // namespace

CANN_API aclError aclrtValueWrite(void* address, uint64_t value, uint32_t, aclrtStream stream) {
    return enqueue(stream, {"aclrtValueWrite", sizeof value}, [=] { number_at(address).store(value); });
}

CANN_API aclError aclrtValueWait(void* address, uint64_t value, uint32_t flag, aclrtStream handle) {
    if (flag > ACL_STREAM_WAIT_VALUE_NOR) return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtValueWait: there is no such comparison");
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    Task task;
    task.ready = [=] { return fits(number_at(address).load(), value, flag); };
    if (stream.capture) {
        record_task(stream, std::move(task));
        return ACL_SUCCESS;
    }
    push(lock, stream, std::move(task));
    return finish_synchronously(lock, stream);
}
