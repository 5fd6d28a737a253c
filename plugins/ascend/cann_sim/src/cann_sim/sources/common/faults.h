// Fault injection: the grammar of CANN_SIM_FAULTS, and what a rule does to an operation.
//
//   rules  = rule { ";" rule }
//   rule   = pattern [ "@" device ] [ "#" when ] "=" action
//   pattern: a name, or part of one with * in it: aclnnMatmul, aclnn*, Hccl*, aclrtMemcpyAsync, aclrtMalloc, *
//   device : a number; without it any device
//   when   : 3 (the third match only), 3+ (the third and all later ones), 3-5; without it every match. Counted from 1
//            per rule, in each process, by execution (a replayed graph counts again); refuse and oom by call.
//   action : fail         the operation raises on the device: its stream stops, the next synchronise tells
//            refuse       the launch itself is refused, nothing runs
//            oom          the allocation fails as if memory were full (aclrtMalloc*)
//            lost         the device is gone from here on: everything on it fails, for good
//            slow:5ms     the operation takes that much longer (us, ms, s)
//            hang         the operation never ends: for synchronise with a timeout
//            timeout      the operation ends with a time-out, at once (collectives: the peer did not come)
//
// Examples: aclnnMatmul#3=fail   *@1#100=lost   *=slow:5ms   Hccl*=timeout   aclrtMalloc#2+=oom
#pragma once

#include <chrono>
#include <string>

namespace cann_sim {

enum class FaultAction { none, fail, refuse, oom, lost, slow, hang, timeout };

struct Fault {
    FaultAction action = FaultAction::none;
    std::chrono::microseconds delay{0};
    std::string rule;  // as written, for the message
};

// The fault that befalls this call (refuse, oom) or this execution (the others); counts the match.
Fault fault_at_call(const std::string& operation, int device);
Fault fault_at_execution(const std::string& operation, int device);

// "" or what is wrong with the text.
std::string check_faults(const std::string& rules);
// Replaces the rules; returns as check_faults.
std::string set_faults(const std::string& rules);

}  // namespace cann_sim
