// What is allocated: the blocks of device memory, and the bytes of each device.
#include "common/simulator.h"
#include "runtime/memory.h"

#include <map>
#include <mutex>
#include <sstream>
#include <vector>

namespace cann_sim {
namespace {

struct Blocks {
    std::mutex mutex;
    std::map<uintptr_t, Block> by_start;
    std::vector<MemoryUse> use{static_cast<size_t>(settings().devices)};
};

Blocks& blocks() {
    static Blocks* const instance = new Blocks;
    return *instance;
}

std::optional<Block> find_locked(uintptr_t address) {
    const auto& all = blocks().by_start;
    auto after = all.upper_bound(address);
    if (after == all.begin()) return std::nullopt;
    const Block& block = std::prev(after)->second;
    if (address >= block.start + block.bytes) return std::nullopt;
    return block;
}

}  // namespace

MemoryUse memory_use(int device) {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    return blocks().use.at(static_cast<size_t>(device));
}

void reset_peaks() {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    for (MemoryUse& use : blocks().use) use.peak_bytes = use.allocated_bytes;
}

bool take_bytes(int device, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    MemoryUse& use = blocks().use.at(static_cast<size_t>(device));
    if (bytes > settings().hbm_bytes - use.allocated_bytes) return false;
    use.allocated_bytes += bytes;
    use.peak_bytes = std::max(use.peak_bytes, use.allocated_bytes);
    return true;
}

void give_bytes(int device, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    blocks().use.at(static_cast<size_t>(device)).allocated_bytes -= bytes;
}

void add_block(const Block& block) {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    blocks().by_start[block.start] = block;
}

std::optional<Block> retire_block(uintptr_t start) {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    const auto found = blocks().by_start.find(start);
    if (found == blocks().by_start.end() || found->second.freed) return std::nullopt;
    const Block before = found->second;
    found->second.freed = true;
    return before;
}

std::optional<Block> find_block(uintptr_t address) {
    std::lock_guard<std::mutex> lock(blocks().mutex);
    return find_locked(address);
}

std::optional<Block> find_block_unless_locked(uintptr_t address) {
    std::unique_lock<std::mutex> lock(blocks().mutex, std::try_to_lock);
    return lock.owns_lock() ? find_locked(address) : std::nullopt;
}

bool is_device_memory(const void* address) {
    const auto value = reinterpret_cast<uintptr_t>(address);
    if (range_of(value) != AddressRange::device) return false;
    const auto block = find_block(value);
    return block && !block->freed;
}

std::string explain_bad_range(const void* address, uint64_t bytes) {
    auto place = reinterpret_cast<uintptr_t>(address);
    uint64_t left = bytes;
    std::ostringstream problem;
    problem << "[" << address << ", +" << bytes << " bytes) ";
    while (left > 0) {  // a virtual-memory segment consists of several blocks, one behind the other
        const auto block = range_of(place) == AddressRange::device ? find_block(place) : std::nullopt;
        if (!block && left == bytes) return problem.str() + "is no device memory";
        if (!block || block->freed) {
            problem << (block ? "was freed" : "ends behind its allocation") << " (after " << bytes - left << " bytes)";
            return problem.str();
        }
        const uint64_t here = block->start + block->bytes - place;
        if (here >= left) return "";
        left -= here;
        place += here;
    }
    return "";
}

}  // namespace cann_sim
