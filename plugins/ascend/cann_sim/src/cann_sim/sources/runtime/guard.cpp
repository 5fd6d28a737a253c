// The guard of strict mode: a host that touches device memory faults, and is told so in a sentence before it dies.
//
// A real NPU's memory is not mapped into the process at all; without the guard such a bug would pass here and crash
// there.
#include "common/simulator.h"
#include "runtime/memory.h"
#include "runtime/timeline.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace cann_sim {
namespace {

struct sigaction previous;

void explain(uintptr_t fault, bool from_kernel, char* text, size_t size) {
    const uintptr_t address = from_kernel ? device_address(fault) : fault;
    const auto block = find_block_unless_locked(address);
    const char* who = from_kernel ? "a simulated operator" : "host code";
    const char* operation = running_operation();
    int length = std::snprintf(text, size, "cann_sim: %s%s%s touched device memory at %p: ", who,
                               *operation != '\0' ? " in " : "", operation, reinterpret_cast<void*>(address));
    if (length < 0 || static_cast<size_t>(length) >= size) return;
    text += length;
    size -= static_cast<size_t>(length);
    if (!block) {
        std::snprintf(text, size, "nothing is allocated there (a freed virtual-memory segment, or past the end of an allocation).\n");
        return;
    }
    std::snprintf(text, size, "byte %llu of an allocation of %llu bytes on device %d%s.%s\n",
                  static_cast<unsigned long long>(address - block->start), static_cast<unsigned long long>(block->bytes),
                  block->device, block->freed ? ", which was freed" : "",
                  from_kernel ? "" : " Copy it with aclrtMemcpy (tensor.cpu()); operators go through host_alias().");
}

void on_fault(int signal, siginfo_t* info, void* context) {
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    const AddressRange range = range_of(address);
    if (range != AddressRange::outside) {
        char text[512];
        explain(address, range == AddressRange::alias, text, sizeof text);
        const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
        static_cast<void>(ignored);
    }
    // The instruction faults again, now for whoever was there before (faulthandler prints Python's stack).
    sigaction(signal, &previous, nullptr);
}

}  // namespace

void install_guard() {
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &previous);
}

}  // namespace cann_sim
