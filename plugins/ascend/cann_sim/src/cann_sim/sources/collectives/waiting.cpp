// Bells are futexes that processes share.
#include "waiting.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <fstream>

namespace cann_sim::collectives {

namespace {

constexpr std::chrono::milliseconds kLookAround{20};

void sleep_on(std::atomic<uint32_t>& bell, uint32_t heard, std::chrono::nanoseconds at_most) {
    const timespec pause{at_most.count() / 1'000'000'000, at_most.count() % 1'000'000'000};
    syscall(SYS_futex, &bell, FUTEX_WAIT, heard, &pause, nullptr, 0);  // every way out of it means: look again
}

}  // namespace

void ring(std::atomic<uint32_t>& bell) {
    bell.fetch_add(1);
    syscall(SYS_futex, &bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool is_running(uint32_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    if (!std::getline(file, line)) return false;
    const size_t end_of_name = line.rfind(')');
    const char state = end_of_name + 2 < line.size() ? line[end_of_name + 2] : 'X';
    return state != 'Z' && state != 'X';
}

Waited wait_until(std::atomic<uint32_t>& bell, const std::function<bool()>& done, const std::function<bool()>& in_vain,
                  Clock::time_point deadline) {
    auto next_look = Clock::now() + kLookAround;
    for (;;) {
        const uint32_t heard = bell.load();
        if (done()) return Waited::done;
        const auto now = Clock::now();
        if (now >= next_look) {
            if (in_vain()) return done() ? Waited::done : Waited::in_vain;
            if (now >= deadline) return Waited::too_long;
            next_look = now + kLookAround;
        }
        sleep_on(bell, heard, next_look - now);
    }
}

std::chrono::seconds seconds_from(const char* variable, int otherwise) {
    const char* text = std::getenv(variable);
    const int value = text ? std::atoi(text) : 0;
    return std::chrono::seconds(value > 0 ? value : otherwise);
}

}  // namespace cann_sim::collectives
