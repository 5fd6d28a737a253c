// Device memory: one range of addresses for all devices, and what is allocated in it.
//
// An address handed out lies in the device range. Strict mode leaves that range without any access rights and puts the
// pages at the same offset of a second range, the alias range, which only simulated kernels use. Addresses are never
// used twice and have a gap behind them, so a use after free and a write past the end fault, too.
#pragma once

#include <acl/acl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cann_sim {

struct MemoryUse {
    uint64_t allocated_bytes = 0;
    uint64_t peak_bytes = 0;
};

MemoryUse memory_use(int device);
void reset_peaks();

// Counts `bytes` as allocated; false if the device does not have them.
bool take_bytes(int device, uint64_t bytes);
void give_bytes(int device, uint64_t bytes);

struct Block {
    uintptr_t start = 0;
    uint64_t bytes = 0;
    int device = 0;
    bool freed = false;  // kept, so that a use after free can be explained
};

// A fresh range of device addresses without memory behind it; 0 if there are no addresses left.
uintptr_t reserve_addresses(uint64_t bytes);

// Memory behind [start, start + bytes): anonymous, or the file's at `offset`. False if the machine has none left.
bool back_with_memory(uintptr_t start, uint64_t bytes);
bool back_with_file(uintptr_t start, uint64_t bytes, int file, uint64_t offset);
void remove_backing(uintptr_t start, uint64_t bytes);

void add_block(const Block& block);
// Marks the block that starts at `start` as freed and returns it as it was.
std::optional<Block> retire_block(uintptr_t start);
// The block around the address, also a freed one.
std::optional<Block> find_block(uintptr_t address);
// As find_block, for a signal handler: gives up instead of waiting for the lock.
std::optional<Block> find_block_unless_locked(uintptr_t address);

// "" if [address, address + bytes) is allocated device memory throughout, else what is wrong.
std::string explain_bad_range(const void* address, uint64_t bytes);

enum class AddressRange { outside, device, alias };
AddressRange range_of(uintptr_t address);
// The device address behind an address of the alias range.
uintptr_t device_address(uintptr_t alias);

uint64_t rounded_to_pages(uint64_t bytes);

// Explains a fault at a device address, then dies of it (guard.cpp).
void install_guard();

// Host memory that the runtime handed out or registered (host_memory.cpp): asynchronous copies are only then
// asynchronous.
bool is_pinned(const void* address, uint64_t bytes);

}  // namespace cann_sim
