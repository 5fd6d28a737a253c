// Virtual memory: address ranges and physical memory apart, as expandable segments and sleep mode want them.
#include "common/simulator.h"
#include "runtime/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <vector>

using namespace cann_sim;

namespace {

struct Physical {
    int file;
    uint64_t bytes;
    int device;
    int mappings = 0;
    bool freed = false;  // the memory goes when the last mapping has gone, as on the device
};

struct Mapping {
    uint64_t bytes;
    Physical* physical;
};

struct VirtualMemory {
    std::mutex mutex;
    std::map<uintptr_t, uint64_t> reserved;
    std::map<uintptr_t, Mapping> mapped;
};

VirtualMemory& virtual_memory() {
    static VirtualMemory* const instance = new VirtualMemory;
    return *instance;
}

constexpr uint64_t POISONED_BYTES = 32ull << 20;  // larger segments come zeroed: poisoning them would use their memory

void poison(int file, uint64_t bytes) {
    if (!settings().strict || bytes > POISONED_BYTES) return;
    const std::vector<unsigned char> content(bytes, 0xFF);
    const ssize_t ignored = pwrite(file, content.data(), content.size(), 0);
    static_cast<void>(ignored);  // fresh memory has no defined content; nothing depends on it
}

void release_if_unused(Physical* physical) {
    if (!physical->freed || physical->mappings > 0) return;
    close(physical->file);
    give_bytes(physical->device, physical->bytes);
    delete physical;
}

bool lies_in_reserved(uintptr_t start, uint64_t bytes) {
    const auto& all = virtual_memory().reserved;
    auto after = all.upper_bound(start);
    if (after == all.begin()) return false;
    const auto& [base, size] = *std::prev(after);
    return start + bytes <= base + size;
}

bool overlaps_mapping(uintptr_t start, uint64_t bytes) {
    const auto& all = virtual_memory().mapped;
    auto after = all.lower_bound(start + bytes);
    if (after == all.begin()) return false;
    const auto& [base, mapping] = *std::prev(after);
    return base + mapping.bytes > start;
}

}  // namespace

CANN_API aclError aclrtReserveMemAddress(void** address, size_t size, size_t, void*, uint64_t) {
    const uintptr_t start = reserve_addresses(size);
    if (start == 0) return report(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtReserveMemAddress: no addresses left");
    std::lock_guard<std::mutex> lock(virtual_memory().mutex);
    virtual_memory().reserved[start] = size;
    *address = reinterpret_cast<void*>(start);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtReleaseMemAddress(void* address) {
    std::lock_guard<std::mutex> lock(virtual_memory().mutex);
    if (virtual_memory().reserved.erase(reinterpret_cast<uintptr_t>(address)) == 0) {
        return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtReleaseMemAddress of an address that was not reserved");
    }
    return ACL_SUCCESS;
}

CANN_API aclError aclrtMallocPhysical(aclrtDrvMemHandle* handle, size_t size, const aclrtPhysicalMemProp* property, uint64_t) {
    if (const aclError refused = before_operation("aclrtMallocPhysical", size)) return refused;
    const int device = static_cast<int>(property->location.id);
    if (device < 0 || device >= settings().devices) return report(ACL_ERROR_RT_INVALID_DEVICEID, "aclrtMallocPhysical: no such device");
    if (!take_bytes(device, size)) {
        return report(ACL_ERROR_RT_MEMORY_ALLOCATION,
                      "aclrtMallocPhysical: device " + std::to_string(device) + " has no " + std::to_string(size) + " bytes left");
    }
    const int file = memfd_create("cann_sim device memory", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, static_cast<off_t>(size)) != 0) {
        give_bytes(device, size);
        return report(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclrtMallocPhysical: the machine has no memory left");
    }
    poison(file, size);
    *handle = static_cast<aclrtDrvMemHandle>(static_cast<void*>(new Physical{file, size, device}));
    return ACL_SUCCESS;
}

CANN_API aclError aclrtFreePhysical(aclrtDrvMemHandle handle) {
    std::lock_guard<std::mutex> lock(virtual_memory().mutex);
    auto* physical = static_cast<Physical*>(static_cast<void*>(handle));
    physical->freed = true;
    release_if_unused(physical);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtMapMem(void* address, size_t size, size_t offset, aclrtDrvMemHandle handle, uint64_t) {
    std::lock_guard<std::mutex> lock(virtual_memory().mutex);
    auto* physical = static_cast<Physical*>(static_cast<void*>(handle));
    const auto start = reinterpret_cast<uintptr_t>(address);
    if (!lies_in_reserved(start, size) || offset + size > physical->bytes) {
        return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtMapMem outside the reserved addresses, or past the end of the physical memory");
    }
    if (overlaps_mapping(start, size)) return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtMapMem where memory is mapped already");
    if (!back_with_file(start, size, physical->file, offset)) return report(ACL_ERROR_RT_INTERNAL_ERROR, "aclrtMapMem: mmap failed");
    ++physical->mappings;
    virtual_memory().mapped[start] = {size, physical};
    add_block({start, size, physical->device});
    return ACL_SUCCESS;
}

CANN_API aclError aclrtUnmapMem(void* address) {
    std::lock_guard<std::mutex> lock(virtual_memory().mutex);
    const auto found = virtual_memory().mapped.find(reinterpret_cast<uintptr_t>(address));
    if (found == virtual_memory().mapped.end()) return report(ACL_ERROR_RT_PARAM_INVALID, "aclrtUnmapMem where nothing is mapped");
    remove_backing(found->first, found->second.bytes);
    retire_block(found->first);
    --found->second.physical->mappings;
    release_if_unused(found->second.physical);
    virtual_memory().mapped.erase(found);
    return ACL_SUCCESS;
}
