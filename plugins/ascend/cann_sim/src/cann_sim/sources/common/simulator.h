// The seam between the simulated libraries: everything that libopapi (operators) and libhccl (collectives) may ask of
// the simulated runtime. All state lives in libascendcl.so, which exports these functions; the other libraries hold none.
//
// Three rules for whoever writes a simulated operator:
//  1. An address that torch_npu hands over is a *device* address. Only work on a stream may look behind it, and only
//     through host_alias(): in strict mode (the default) the device address itself is not readable and faults.
//  2. Nothing is computed at the call. Check shapes and dtypes at once (`return report(...)`), then enqueue() the work:
//     the runtime decides when it runs (stream thread, deferred, recorded in a graph).
//  3. Work that fails throws; the runtime remembers code, operation, device and stream, and the next synchronise
//     reports them.
#pragma once

#include <acl/acl.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#define CANN_SIM_EXPORT __attribute__((visibility("default")))
// A function of the vendor's C interface.
#define CANN_API extern "C" CANN_SIM_EXPORT

namespace cann_sim {

// ---- settings: one reading of the CANN_SIM_* environment, at the first use --------------------------------------------

enum class StreamMode {
    synchronous,   // a call returns when its work has run (or waits for an event that is yet to come)
    asynchronous,  // every stream is a thread
    adversarial,   // work is deferred until something forces it, and runs in an unhelpful but permitted order
};

struct Settings {
    int devices;               // CANN_SIM_DEVICES           1
    uint64_t hbm_bytes;        // CANN_SIM_HBM_BYTES         8589934592; suffixes KiB, MiB, GiB
    std::string soc_name;      // CANN_SIM_SOC               Ascend910B3 (with or without "Ascend")
    std::string cann_version;  // CANN_SIM_CANN_VERSION      8.5.0
    StreamMode streams;        // CANN_SIM_STREAMS           sync | async | adversarial[:SEED]; default async
    uint64_t seed;             //                            the SEED of adversarial streams, 0 by default
    bool strict;               // CANN_SIM_STRICT            1; 0: device memory is readable by the host and comes zeroed
    bool trace;                // CANN_SIM_TRACE             0; 1: one line on stderr for every operation
    std::string faults;        // CANN_SIM_FAULTS            rules, see faults.h
    std::string counters_file; // CANN_SIM_COUNTERS          where the counters go at exit, as JSON; %p is the process id
};

CANN_SIM_EXPORT const Settings& settings();

// ---- errors ----------------------------------------------------------------------------------------------------------

// Thrown by work on a stream: the stream stops and the next synchronise returns `code`. Any other std::exception counts
// as ACL_ERROR_RT_AICORE_EXCEPTION, which is what a crashing kernel is.
class OperationFailed : public std::runtime_error {
public:
    OperationFailed(aclError code, const std::string& message) : std::runtime_error(message), code(code) {}
    const aclError code;
};

// Remembers the sentence that aclGetRecentErrMsg() gives to this thread next, and returns `code`: `return report(...)`.
CANN_SIM_EXPORT aclError report(aclError code, const std::string& message);

// ---- work on streams -------------------------------------------------------------------------------------------------

struct Operation {
    std::string name;        // "aclnnMatmul", "HcclAllReduce": what errors, traces, counters and fault rules call it
    uint64_t bytes = 0;      // bytes of its tensors, or bytes moved; for the counters
    bool may_block = false;  // waits for another process (collectives): other streams go on meanwhile
};

// Runs `work` in the order of `stream` (null: the device's default stream): now, later, or at every replay of the graph
// that is being captured there; inside a task update it becomes the new content of the task group instead. `work` owns
// everything it needs. Returns ACL_SUCCESS, or the code with which the launch was refused; give it back to the caller.
CANN_SIM_EXPORT aclError enqueue(aclrtStream stream, const Operation& operation, std::function<void()> work);

// True while `stream` records instead of running (graph capture, or a task update).
CANN_SIM_EXPORT bool is_capturing(aclrtStream stream);

// The device of a stream (null: the calling thread's current device).
CANN_SIM_EXPORT int device_of(aclrtStream stream);

// Inside work that waits for another process: true once the wait is in vain (process exit, device lost, aborted stream);
// then throw OperationFailed instead of waiting on.
CANN_SIM_EXPORT bool must_stop_waiting();

// ---- memory ----------------------------------------------------------------------------------------------------------

// True if `address` lies in device memory that is allocated (or in the reserved range of a virtual-memory segment).
CANN_SIM_EXPORT bool is_device_memory(const void* address);

// The address at which simulated kernels read and write what the program knows as `device_address`. Addresses outside
// device memory come back unchanged (operators take some arguments from the host). Use it inside work only.
CANN_SIM_EXPORT void* host_alias(const void* device_address);

// ---- faults, counters, trace: enqueue() sees to all three; for calls that do not go through it -----------------------

// Call first in a host-side function that fault rules may name ("aclrtMalloc"). Counts the call, traces it, and returns
// ACL_SUCCESS or the code (already reported) with which the call has to fail.
CANN_SIM_EXPORT aclError before_operation(const std::string& name, uint64_t bytes = 0);

CANN_SIM_EXPORT void trace(const std::string& line);

}  // namespace cann_sim

// ---- for Python (ctypes) ---------------------------------------------------------------------------------------------

// Counters as JSON; the text stays valid until the calling thread asks again:
// {"operations": {"aclnnMatmul": {"calls": 3, "launches": 3, "bytes": 96}, ...},
//  "host_calls": 17, "launches": 40, "graph_launches": 1, "bytes": 4096,
//  "memory": [{"device": 0, "allocated_bytes": 0, "peak_bytes": 0, "total_bytes": 8589934592}, ...]}
// calls: the host asked for it (also while capturing); launches: it ran on a stream, each replay of a graph included.
CANN_API const char* cann_sim_counters();
// Sets calls, launches and bytes to zero, and each device's peak to what is allocated now.
CANN_API void cann_sim_reset_counters();
// Replaces the fault rules, their counts start again; "" removes them. Returns "" or, changing nothing, what is wrong.
CANN_API const char* cann_sim_set_faults(const char* rules);
// Returns "" or what is wrong with the rules (one sentence with the remedy).
CANN_API const char* cann_sim_check_faults(const char* rules);
// The settings as JSON, as the runtime understood them.
CANN_API const char* cann_sim_settings();
