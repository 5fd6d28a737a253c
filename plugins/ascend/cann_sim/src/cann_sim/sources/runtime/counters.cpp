// Counters: what the host asked for, and what ran on the streams, as JSON.
#include "runtime/counters.h"

#include "common/simulator.h"
#include "runtime/json.h"
#include "runtime/memory.h"

#include <unistd.h>

#include <cstdio>
#include <map>
#include <mutex>

namespace cann_sim {
namespace {

struct Count {
    uint64_t calls = 0;
    uint64_t launches = 0;
    uint64_t bytes = 0;
};

struct Counters {
    std::mutex mutex;
    std::map<std::string, Count> operations;
    uint64_t graph_launches = 0;
};

Counters& counters() {
    static Counters* const instance = new Counters;
    return *instance;
}

std::string memory_json() {
    std::string list;
    for (int device = 0; device < settings().devices; ++device) {
        const MemoryUse use = memory_use(device);
        JsonObject entry;
        entry.add("device", device).add("allocated_bytes", use.allocated_bytes).add("peak_bytes", use.peak_bytes);
        list += (list.empty() ? "" : ", ") + entry.add("total_bytes", settings().hbm_bytes).text();
    }
    return "[" + list + "]";
}

std::string counters_json() {
    const std::string memory = memory_json();
    Counters& all = counters();
    std::lock_guard<std::mutex> lock(all.mutex);
    JsonObject operations;
    Count sum;
    for (const auto& [name, count] : all.operations) {
        sum.calls += count.calls;
        sum.launches += count.launches;
        sum.bytes += count.bytes;
        JsonObject entry;
        entry.add("calls", count.calls).add("launches", count.launches).add("bytes", count.bytes);
        operations.raw(name, entry.text());
    }
    JsonObject json;
    json.raw("operations", operations.text()).add("host_calls", sum.calls).add("launches", sum.launches);
    return json.add("graph_launches", all.graph_launches).add("bytes", sum.bytes).raw("memory", memory).text();
}

std::string with_process_id(std::string path) {
    const size_t place = path.find("%p");
    return place == std::string::npos ? path : path.replace(place, 2, std::to_string(getpid()));
}

}  // namespace

void count_call(const std::string& operation) {
    std::lock_guard<std::mutex> lock(counters().mutex);
    ++counters().operations[operation].calls;
}

void count_launch(const std::string& operation, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(counters().mutex);
    Count& count = counters().operations[operation];
    ++count.launches;
    count.bytes += bytes;
}

void count_graph_launch() {
    std::lock_guard<std::mutex> lock(counters().mutex);
    ++counters().graph_launches;
}

void write_counters_file() {
    if (settings().counters_file.empty()) return;
    const std::string path = with_process_id(settings().counters_file);
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr) {
        std::fprintf(stderr, "cann_sim: the counters cannot be written to %s (CANN_SIM_COUNTERS)\n", path.c_str());
        return;
    }
    std::fprintf(file, "%s\n", counters_json().c_str());
    std::fclose(file);
}

}  // namespace cann_sim

CANN_API const char* cann_sim_counters() {
    thread_local std::string answer;
    answer = cann_sim::counters_json();
    return answer.c_str();
}

CANN_API void cann_sim_reset_counters() {
    {
        std::lock_guard<std::mutex> lock(cann_sim::counters().mutex);
        cann_sim::counters().operations.clear();
        cann_sim::counters().graph_launches = 0;
    }
    cann_sim::reset_peaks();
}
