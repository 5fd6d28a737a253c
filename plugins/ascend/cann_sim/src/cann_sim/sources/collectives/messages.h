// Messages from one rank to another: any number of them, in both directions, move on side by side.
#pragma once

#include "communicator.h"
#include "data_types.h"

#include <vector>

namespace cann_sim::collectives {

struct Message {
    enum class Direction { out, in } direction;
    uint32_t peer;
    void* data;  // host address
    size_t bytes;
    HcclDataType type;
};

// Returns when all are through. A message out is through when its receiver has taken all of it: as on the device, two
// ranks that both send before they receive wait for each other for ever. Messages of one pair keep their order.
void exchange(Communicator& communicator, const std::vector<Message>& messages);

}  // namespace cann_sim::collectives
