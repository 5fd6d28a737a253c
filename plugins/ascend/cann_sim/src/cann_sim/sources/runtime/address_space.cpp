// The address space of device memory: reserving ranges, putting memory behind them, aliases.
#include "common/simulator.h"
#include "runtime/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace cann_sim {
namespace {

constexpr uint64_t RANGE_BYTES = 8ull << 40;        // never used up: addresses cost nothing
constexpr uint64_t GRAIN_BYTES = 2ull << 20;        // the vendor's huge page: what allocations are aligned to
constexpr uint64_t POISON_FILE_BYTES = 32ull << 20;
constexpr unsigned char POISON = 0xFF;              // NaN in every floating-point type, -1 in every integer

struct AddressSpace {
    uintptr_t device_start = 0;
    uint64_t alias_offset = 0;
    int poison_file = -1;
    std::mutex mutex;
    uintptr_t next = 0;
};

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::_Exit(71);  // EX_OSERR
}

int make_poison_file() {
    const int file = memfd_create("cann_sim fresh memory", MFD_CLOEXEC);
    const std::vector<unsigned char> chunk(1 << 20, POISON);
    for (uint64_t written = 0; file >= 0 && written < POISON_FILE_BYTES; written += chunk.size()) {
        if (write(file, chunk.data(), chunk.size()) != static_cast<ssize_t>(chunk.size())) return -1;
    }
    return file;
}

AddressSpace* create() {
    auto* space = new AddressSpace;
    const bool strict = settings().strict;
    const uint64_t bytes = strict ? 2 * RANGE_BYTES : RANGE_BYTES;
    void* start = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) die("cann_sim: no addresses for device memory (is `ulimit -v` set?)");
    space->device_start = (reinterpret_cast<uintptr_t>(start) + GRAIN_BYTES - 1) / GRAIN_BYTES * GRAIN_BYTES;
    space->next = space->device_start;
    if (!strict) return space;
    space->alias_offset = RANGE_BYTES;
    space->poison_file = make_poison_file();
    if (space->poison_file < 0) die("cann_sim: no memory for the content of fresh device memory");
    install_guard();
    return space;
}

AddressSpace& space() {
    static AddressSpace* const instance = create();
    return *instance;
}

void* backing_of(uintptr_t address) { return reinterpret_cast<void*>(address + space().alias_offset); }

// Device memory comes with whatever was in it. Private pages of one file full of NaN give that without using memory
// for pages that are never written.
bool map_poison(uintptr_t start, uint64_t bytes) {
    for (uint64_t done = 0; done < bytes; done += POISON_FILE_BYTES) {
        const uint64_t piece = std::min(POISON_FILE_BYTES, bytes - done);
        void* target = backing_of(start + done);
        const int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
        if (mmap(target, piece, PROT_READ | PROT_WRITE, flags, space().poison_file, 0) == MAP_FAILED) return false;
    }
    return true;
}

}  // namespace

uint64_t rounded_to_pages(uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

uintptr_t reserve_addresses(uint64_t bytes) {
    if (bytes > RANGE_BYTES) return 0;
    const uint64_t with_gap = (bytes + GRAIN_BYTES - 1) / GRAIN_BYTES * GRAIN_BYTES + GRAIN_BYTES;
    AddressSpace& all = space();
    std::lock_guard<std::mutex> lock(all.mutex);
    if (with_gap > all.device_start + RANGE_BYTES - GRAIN_BYTES - all.next) return 0;
    const uintptr_t start = all.next;
    all.next += with_gap;
    return start;
}

bool back_with_memory(uintptr_t start, uint64_t bytes) {
    if (settings().strict) return map_poison(start, bytes);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    return mmap(backing_of(start), bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
}

bool back_with_file(uintptr_t start, uint64_t bytes, int file, uint64_t offset) {
    const int flags = MAP_SHARED | MAP_FIXED;
    const auto place = static_cast<off_t>(offset);
    return mmap(backing_of(start), bytes, PROT_READ | PROT_WRITE, flags, file, place) != MAP_FAILED;
}

void remove_backing(uintptr_t start, uint64_t bytes) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    if (mmap(backing_of(start), bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED) die("cann_sim: unmapping device memory");
}

AddressRange range_of(uintptr_t address) {
    const uintptr_t start = space().device_start;
    if (address < start || address >= start + RANGE_BYTES + space().alias_offset) return AddressRange::outside;
    return address < start + RANGE_BYTES ? AddressRange::device : AddressRange::alias;
}

uintptr_t device_address(uintptr_t alias) { return alias - space().alias_offset; }

void* host_alias(const void* address) {
    const auto value = reinterpret_cast<uintptr_t>(address);
    return range_of(value) == AddressRange::device ? backing_of(value) : const_cast<void*>(address);
}

}  // namespace cann_sim
