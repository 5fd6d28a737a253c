// aclrtMalloc, aclrtFree and what the device says about its memory.
#include "common/simulator.h"
#include "runtime/devices.h"
#include "runtime/memory.h"

#include <cstring>

using namespace cann_sim;

namespace {

aclError out_of_memory(const std::string& function, int device, uint64_t bytes) {
    const uint64_t used = memory_use(device).allocated_bytes;
    return report(ACL_ERROR_RT_MEMORY_ALLOCATION,
                  function + ": device " + std::to_string(device) + " has no " + std::to_string(bytes) + " bytes left: " +
                      std::to_string(used) + " of " + std::to_string(settings().hbm_bytes) + " are allocated (CANN_SIM_HBM_BYTES)");
}

aclError allocate(const std::string& function, void** address, size_t size) {
    if (const aclError refused = before_operation(function, size)) return refused;
    if (address == nullptr || size == 0) return report(ACL_ERROR_RT_PARAM_INVALID, function + " of no bytes, or to nowhere");
    const int device = current_device();
    if (size > settings().hbm_bytes) return out_of_memory(function, device, size);  // rounding it up may overflow
    const uint64_t bytes = rounded_to_pages(size);
    if (!take_bytes(device, bytes)) return out_of_memory(function, device, size);
    const uintptr_t start = reserve_addresses(bytes);
    if (start == 0 || !back_with_memory(start, bytes)) {
        give_bytes(device, bytes);
        return report(ACL_ERROR_RT_MEMORY_ALLOCATION, function + ": the machine has no memory or addresses left");
    }
    add_block({start, bytes, device});
    *address = reinterpret_cast<void*>(start);
    return ACL_SUCCESS;
}

}  // namespace

CANN_API aclError aclrtMalloc(void** address, size_t size, aclrtMemMallocPolicy) { return allocate("aclrtMalloc", address, size); }

CANN_API aclError aclrtMallocAlign32(void** address, size_t size, aclrtMemMallocPolicy) {
    return allocate("aclrtMallocAlign32", address, size);
}

CANN_API aclError aclrtFree(void* address) {
    if (const aclError refused = before_operation("aclrtFree")) return refused;
    const auto block = retire_block(reinterpret_cast<uintptr_t>(address));
    if (!block) return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtFree of an address that is not the start of an allocation, or was freed");
    remove_backing(block->start, block->bytes);
    give_bytes(block->device, block->bytes);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtGetMemInfo(aclrtMemAttr, size_t* free, size_t* total) {
    *total = settings().hbm_bytes;
    *free = settings().hbm_bytes - memory_use(current_device()).allocated_bytes;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtGetMemUsageInfo(int32_t device, aclrtMemUsageInfo* info, size_t room, size_t* count) {
    if (info == nullptr || room < 1 || device < 0 || device >= settings().devices) {
        return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetMemUsageInfo: no such device, or no room for the answer");
    }
    const MemoryUse use = memory_use(device);
    *info = {};
    std::strncpy(info->name, "APP", sizeof info->name - 1);
    info->curMemSize = use.allocated_bytes;
    info->memPeakSize = use.peak_bytes;
    *count = 1;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtPointerGetAttributes(const void* address, aclrtPtrAttributes* attributes) {
    *attributes = {};
    attributes->location.type = ACL_MEM_LOCATION_TYPE_UNREGISTERED;
    const auto block = find_block(reinterpret_cast<uintptr_t>(address));
    if (block && !block->freed) {
        attributes->location.type = ACL_MEM_LOCATION_TYPE_DEVICE;
        attributes->location.id = static_cast<uint32_t>(block->device);
    } else if (is_pinned(address, 1)) {
        attributes->location.type = ACL_MEM_LOCATION_TYPE_HOST;
    }
    return ACL_SUCCESS;
}
