// The memory that the ranks of one communicator share, and how the others find it.
//
// It is an anonymous file (memfd) of the process that made the root info; the others open it through /proc/<pid>/fd. So
// it has no name: nothing can be left in /dev/shm, and the kernel frees it with the last process, however that one ends.
#pragma once

#include <hccl/hccl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cann_sim::collectives {

constexpr uint32_t kMostRanks = 64;
constexpr size_t kSlotBytes = 1 << 20;  // what a rank shows to all others at a time
constexpr size_t kMailBytes = 1 << 16;  // what a rank hands to one other at a time

// What a rank is about to do; all ranks of one collective must be about to do the same.
struct Intent {
    char operation[32];
    uint64_t count;
    uint32_t data_type, reduce_op, root;
};

// One rank's place in the segment. Counters only ever grow, so nobody has to reset anything for anybody.
struct Seat {
    std::atomic<uint32_t> pid;       // 0 until the rank has come
    std::atomic<uint32_t> bell;      // rung (futex) whenever something changes that this rank may wait for
    std::atomic<uint32_t> arrivals;  // how many barriers the rank has reached
    std::atomic<uint32_t> left;      // the rank has destroyed its communicator
    std::atomic<uint32_t> failed;    // the rank gave up, as `reason` tells
    char reason[192];
    Intent intent;
};

// From one rank to one other: a message goes in pieces, each is written when the one before it has been taken.
struct Mailbox {
    std::atomic<uint32_t> written, taken;
    uint64_t total_bytes;  // of the whole message
    uint32_t data_type;
    uint32_t piece_bytes;
    char piece[kMailBytes];
};

struct Header {
    std::atomic<uint32_t> ranks;  // 0 until the first rank has come
    Seat seats[kMostRanks];
};

// A mapping of the segment; unmapped with its last owner. Errors are thrown as std::runtime_error.
class Segment {
public:
    // What stands in a HcclRootInfo: who holds the segment, and as which file.
    struct Address {
        uint32_t pid;
        int fd;
        uint64_t id;
    };

    static Address create();
    // Lets go of the file that create() holds in this process; those who have it mapped keep it.
    static void release(const Address& address);

    Segment(const Address& address, uint32_t ranks);
    ~Segment();
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;

    Header& header() const { return *static_cast<Header*>(memory_); }
    Seat& seat(uint32_t rank) const { return header().seats[rank]; }
    char* slot(uint32_t rank) const;
    Mailbox& mailbox(uint32_t from, uint32_t to) const;

private:
    void* memory_;
    size_t bytes_;
    uint32_t ranks_;
};

}  // namespace cann_sim::collectives
