// Making, finding and mapping a segment.
#include "segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <stdexcept>

namespace cann_sim::collectives {

namespace {

constexpr size_t kPage = 4096;

size_t in_whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

const size_t kHeaderBytes = in_whole_pages(sizeof(Header));
const size_t kMailboxBytes = in_whole_pages(sizeof(Mailbox));

// Sparse: only what is used takes memory.
size_t bytes_for(uint32_t ranks) { return kHeaderBytes + ranks * kSlotBytes + size_t{ranks} * ranks * kMailboxBytes; }

// The segments whose file this process still holds.
std::mutex held_mutex;
std::set<uint64_t>& held() {
    static auto* const ids = new std::set<uint64_t>;
    return *ids;
}

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + strerror(errno)); }

}  // namespace

Segment::Address Segment::create() {
    static std::atomic<uint64_t> made{0};
    const int fd = memfd_create("hccl", MFD_CLOEXEC);
    if (fd < 0) fail("no shared memory for a communicator");
    if (ftruncate(fd, bytes_for(kMostRanks)) != 0) fail("no shared memory for a communicator");
    const Address address{static_cast<uint32_t>(getpid()), fd, ++made};
    const std::lock_guard<std::mutex> lock(held_mutex);
    held().insert(address.id);
    return address;
}

// Once: the number of a closed file may be another file's by then, where several ranks of one process join.
void Segment::release(const Address& address) {
    if (address.pid != static_cast<uint32_t>(getpid())) return;
    const std::lock_guard<std::mutex> lock(held_mutex);
    if (held().erase(address.id) > 0) close(address.fd);
}

Segment::Segment(const Address& address, uint32_t ranks) : bytes_(bytes_for(ranks)), ranks_(ranks) {
    const std::string path = "/proc/" + std::to_string(address.pid) + "/fd/" + std::to_string(address.fd);
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        fail("process " + std::to_string(address.pid) +
             ", which made the root info, has ended or runs on another machine: cannot open " + path);
    }
    struct stat file{};
    if (fstat(fd, &file) != 0 || static_cast<size_t>(file.st_size) < bytes_) {
        close(fd);
        throw std::runtime_error("the root info was used up: all its ranks have joined already");
    }
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory_ == MAP_FAILED) fail("cannot map the shared memory of a communicator");
}

Segment::~Segment() { munmap(memory_, bytes_); }

char* Segment::slot(uint32_t rank) const { return static_cast<char*>(memory_) + kHeaderBytes + rank * kSlotBytes; }

Mailbox& Segment::mailbox(uint32_t from, uint32_t to) const {
    char* first = slot(ranks_);
    return *reinterpret_cast<Mailbox*>(first + (size_t{from} * ranks_ + to) * kMailboxBytes);
}

}  // namespace cann_sim::collectives
