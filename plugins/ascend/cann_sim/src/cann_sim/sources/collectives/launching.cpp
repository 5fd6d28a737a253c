// The checks, and the way onto the stream.
#include "launching.h"

#include <cstring>

namespace cann_sim::collectives {

HcclResult Call::check_communicator() const {
    return comm ? HCCL_SUCCESS : refuse(HCCL_E_PTR, operation, "the communicator is a null pointer");
}

HcclResult Call::check_type(bool reduces) const {
    if (bytes_of(type) == 0) {
        return refuse(HCCL_E_NOT_SUPPORT, operation, "data type " + std::to_string(type) + " is not carried");
    }
    if (reduces && !can_reduce(type)) {
        return refuse(HCCL_E_NOT_SUPPORT, operation,
                      std::string(name_of(type)) +
                          " cannot be reduced, only int8, int16, int32, int64, float16, float32 and bfp16 can");
    }
    return HCCL_SUCCESS;
}

HcclResult Call::check_reduction(HcclReduceOp op) const {
    if (is_reduction(op)) return check_type(true);
    return refuse(HCCL_E_NOT_SUPPORT, operation, "reduction " + std::to_string(op) + " is none of sum, prod, max, min");
}

HcclResult Call::check_buffer(const char* role, const void* buffer, uint64_t count) const {
    if (count == 0) return HCCL_SUCCESS;
    if (!buffer) return refuse(HCCL_E_PTR, operation, std::string(role) + " is a null pointer");
    if (!is_device_memory(buffer)) {
        return refuse(HCCL_E_PARA, operation, std::string(role) + " does not lie in device memory");
    }
    if (reinterpret_cast<uintptr_t>(buffer) % bytes_of(type) != 0) {
        return refuse(HCCL_E_PARA, operation,
                      std::string(role) + " is not aligned to the " + std::to_string(bytes_of(type)) + " bytes of " +
                          name_of(type));
    }
    return HCCL_SUCCESS;
}

HcclResult Call::check_rank(const char* role, uint32_t rank) const {
    if (rank < of(comm)->ranks()) return HCCL_SUCCESS;
    return refuse(HCCL_E_PARA, operation,
                  std::string(role) + " is rank " + std::to_string(rank) + ", the communicator has " +
                      std::to_string(of(comm)->ranks()) + " ranks");
}

Intent Call::intent(uint64_t count, uint32_t reduce_op, uint32_t root) const {
    Intent made{};
    strncpy(made.operation, operation, sizeof made.operation - 1);
    made.count = count;
    made.data_type = type;
    made.reduce_op = reduce_op;
    made.root = root;
    return made;
}

HcclResult Call::launch(const Intent& intent, uint64_t bytes, std::function<void(Communicator&)> steps) const {
    const Operation queued{.name = operation, .bytes = bytes, .may_block = true};
    auto work = [communicator = of(comm), intent, steps = std::move(steps)] {
        communicator->perform(intent, [&] { steps(*communicator); });
    };
    return enqueue(stream, queued, std::move(work)) == ACL_SUCCESS ? HCCL_SUCCESS : HCCL_E_RUNTIME;
}

}  // namespace cann_sim::collectives
