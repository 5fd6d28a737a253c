// Waiting for another process: on a bell in shared memory, with an eye on whether the wait is in vain.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace cann_sim::collectives {

using Clock = std::chrono::steady_clock;

// Rings: whoever waits on the bell looks again.
void ring(std::atomic<uint32_t>& bell);

// Whether a process runs; one that has ended but was not reaped by its parent does not.
bool is_running(uint32_t pid);

enum class Waited { done, in_vain, too_long };

// Looks at `done` now and whenever the bell rings; at `in_vain` every few milliseconds besides, for the death of a
// process rings nothing.
Waited wait_until(std::atomic<uint32_t>& bell, const std::function<bool()>& done, const std::function<bool()>& in_vain,
                  Clock::time_point deadline);

// A number of seconds from the environment, as HCCL reads its own (HCCL_EXEC_TIMEOUT, HCCL_CONNECT_TIMEOUT).
std::chrono::seconds seconds_from(const char* variable, int otherwise);

}  // namespace cann_sim::collectives
