// Page-locked host memory. What makes it special here: only with it are asynchronous copies asynchronous.
#include "common/simulator.h"
#include "runtime/memory.h"

#include <cstdlib>
#include <map>
#include <mutex>

namespace cann_sim {
namespace {

struct Pinned {
    std::mutex mutex;
    std::map<uintptr_t, uint64_t> allocated;
    std::map<uintptr_t, uint64_t> registered;
};

Pinned& pinned() {
    static Pinned* const instance = new Pinned;
    return *instance;
}

bool covers(const std::map<uintptr_t, uint64_t>& ranges, uintptr_t start, uint64_t bytes) {
    auto after = ranges.upper_bound(start);
    if (after == ranges.begin()) return false;
    const auto& [base, size] = *std::prev(after);
    return start + bytes <= base + size;
}

aclError allocate(void** address, uint64_t bytes) {
    if (posix_memalign(address, 4096, bytes == 0 ? 1 : bytes) != 0) {
        return report(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtMallocHost: the machine has no " + std::to_string(bytes) + " bytes left");
    }
    std::lock_guard<std::mutex> lock(pinned().mutex);
    pinned().allocated[reinterpret_cast<uintptr_t>(*address)] = bytes;
    return ACL_SUCCESS;
}

aclError add(void* address, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(pinned().mutex);
    pinned().registered[reinterpret_cast<uintptr_t>(address)] = bytes;
    return ACL_SUCCESS;
}

}  // namespace

bool is_pinned(const void* address, uint64_t bytes) {
    const auto start = reinterpret_cast<uintptr_t>(address);
    std::lock_guard<std::mutex> lock(pinned().mutex);
    return covers(pinned().allocated, start, bytes) || covers(pinned().registered, start, bytes);
}

}  // namespace cann_sim

using namespace cann_sim;

CANN_API aclError aclrtMallocHost(void** address, size_t size) { return allocate(address, size); }
CANN_API aclError aclrtMallocHostWithCfg(void** address, uint64_t size, aclrtMallocConfig*) { return allocate(address, size); }

CANN_API aclError aclrtFreeHost(void* address) {
    {
        std::lock_guard<std::mutex> lock(pinned().mutex);
        if (pinned().allocated.erase(reinterpret_cast<uintptr_t>(address)) == 0) {
            return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtFreeHost of memory that aclrtMallocHost did not give");
        }
    }
    std::free(address);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtHostRegister(void* address, uint64_t size, aclrtHostRegisterType, void** device_address) {
    *device_address = address;
    return add(address, size);
}

CANN_API aclError aclrtHostRegisterV2(void* address, uint64_t size, uint32_t) { return add(address, size); }

CANN_API aclError aclrtHostUnregister(void* address) {
    std::lock_guard<std::mutex> lock(pinned().mutex);
    const bool known = pinned().registered.erase(reinterpret_cast<uintptr_t>(address)) > 0;
    return known ? ACL_SUCCESS : report(ACL_ERROR_HOST_MEMORY_NOT_REGISTERED, "aclrtHostUnregister of memory that was not registered");
}
