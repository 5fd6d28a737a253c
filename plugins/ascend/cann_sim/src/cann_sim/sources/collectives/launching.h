// What every function of HCCL does before and with its work: check the arguments, say what is wrong, and queue it.
#pragma once

#include "common/simulator.h"
#include "communicator.h"
#include "data_types.h"

#include <hccl/hccl.h>

#include <functional>
#include <string>

namespace cann_sim::collectives {

// Refuses a call: the sentence becomes what aclGetRecentErrMsg() tells.
inline HcclResult refuse(HcclResult code, const std::string& operation, const std::string& why) {
    report(ACL_ERROR_INVALID_PARAM, operation + " refused: " + why);
    return code;
}

// One call: which operation, on what, where. The checks give HCCL_SUCCESS or have refused.
struct Call {
    const char* operation;
    HcclComm comm;
    aclrtStream stream;
    HcclDataType type;

    HcclResult check_communicator() const;
    HcclResult check_type(bool reduces = false) const;
    HcclResult check_reduction(HcclReduceOp op) const;
    // `count` elements at `buffer` must lie in device memory, aligned to their type.
    // Source: CANN 8.5.0, HCCL API, HcclAllReduce, constraints on the addresses of sendBuf and recvBuf.
    HcclResult check_buffer(const char* role, const void* buffer, uint64_t count) const;
    HcclResult check_rank(const char* role, uint32_t rank) const;

    Intent intent(uint64_t count, uint32_t reduce_op = HCCL_REDUCE_RESERVED, uint32_t root = kMostRanks) const;
    // Queues `steps` on the stream; the communicator lives as long as they may run.
    HcclResult launch(const Intent& intent, uint64_t bytes, std::function<void(Communicator&)> steps) const;
};

#define CANN_SIM_RETURN_IF_REFUSED(check)                             \
    do {                                                              \
        if (const HcclResult refused = (check); refused) return refused; \
    } while (0)

// The host address of an element, for use in work only.
inline char* element(const void* buffer, uint64_t index, size_t element_bytes) {
    return static_cast<char*>(host_alias(buffer)) + index * element_bytes;
}

}  // namespace cann_sim::collectives
