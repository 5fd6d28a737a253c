// The collectives in which all ranks take part at once. Each goes in rounds of what fits into the slots: a rank shows its
// part, all come together, each takes what it needs, all part.
#include "launching.h"

#include <algorithm>
#include <cstring>
#include <vector>

using namespace cann_sim;
using namespace cann_sim::collectives;

namespace {

using Counts = std::vector<uint64_t>;

Counts copied(const void* numbers, uint32_t count) {
    const auto* first = static_cast<const uint64_t*>(numbers);
    return first ? Counts(first, first + count) : Counts(count);
}

uint64_t sum(const Counts& counts) {
    uint64_t total = 0;
    for (const uint64_t count : counts) total += count;
    return total;
}

// Calls round(first, elements) for each stretch of at most `most` elements; once for none at all, as all ranks come then.
template <class Round>
void in_rounds(uint64_t count, uint64_t most, Round round) {
    uint64_t first = 0;
    do {
        const uint64_t elements = std::min(most, count - first);
        round(first, elements);
        first += elements;
    } while (first < count);
}

// How many of `elements` from `first` on there are in a row of `count`.
uint64_t within(uint64_t first, uint64_t elements, uint64_t count) {
    return first >= count ? 0 : std::min(elements, count - first);
}

// Reduces what lies at `offset` in every rank's slot, in the order of the ranks: the same bits on each.
void reduce_slots(const Communicator& c, size_t offset, char* into, uint64_t elements, HcclDataType type,
                  HcclReduceOp op) {
    memcpy(into, c.slot(0) + offset, elements * bytes_of(type));
    for (uint32_t rank = 1; rank < c.ranks(); rank++) reduce(into, c.slot(rank) + offset, elements, type, op);
}

// All reduce if `only_root` is no rank; otherwise only that rank keeps the result.
void reduce_all(Communicator& c, const void* from, void* into, uint64_t count, HcclDataType type, HcclReduceOp op,
                uint32_t only_root) {
    const size_t bytes = bytes_of(type);
    in_rounds(count, kSlotBytes / bytes, [&](uint64_t first, uint64_t elements) {
        memcpy(c.slot(c.rank()), element(from, first, bytes), elements * bytes);
        c.come_together();
        if (only_root >= c.ranks() || only_root == c.rank()) {
            reduce_slots(c, 0, element(into, first, bytes), elements, type, op);
        }
        c.part();
    });
}

// Rank r gives counts[r] elements, which come to displacements[r] everywhere.
void gather_all(Communicator& c, const void* from, void* into, const Counts& counts, const Counts& displacements,
                size_t bytes) {
    in_rounds(*std::max_element(counts.begin(), counts.end()), kSlotBytes / bytes, [&](uint64_t first, uint64_t most) {
        const uint64_t mine = within(first, most, counts[c.rank()]);
        memcpy(c.slot(c.rank()), element(from, first, bytes), mine * bytes);
        c.come_together();
        for (uint32_t rank = 0; rank < c.ranks(); rank++) {
            const uint64_t theirs = within(first, most, counts[rank]);
            memcpy(element(into, displacements[rank] + first, bytes), c.slot(rank), theirs * bytes);
        }
        c.part();
    });
}

// Rank r keeps the reduction of the counts[r] elements at displacements[r].
void reduce_and_scatter(Communicator& c, const void* from, void* into, const Counts& counts,
                        const Counts& displacements, HcclDataType type, HcclReduceOp op) {
    const size_t bytes = bytes_of(type), share = kSlotBytes / c.ranks() / bytes * bytes;
    in_rounds(*std::max_element(counts.begin(), counts.end()), share / bytes, [&](uint64_t first, uint64_t most) {
        for (uint32_t rank = 0; rank < c.ranks(); rank++) {
            const uint64_t theirs = within(first, most, counts[rank]);
            memcpy(c.slot(c.rank()) + rank * share, element(from, displacements[rank] + first, bytes), theirs * bytes);
        }
        c.come_together();
        const uint64_t mine = within(first, most, counts[c.rank()]);
        reduce_slots(c, c.rank() * share, element(into, first, bytes), mine, type, op);
        c.part();
    });
}

void broadcast(Communicator& c, void* buffer, uint64_t count, size_t bytes, uint32_t root) {
    in_rounds(count, kSlotBytes / bytes, [&](uint64_t first, uint64_t elements) {
        if (c.rank() == root) memcpy(c.slot(root), element(buffer, first, bytes), elements * bytes);
        c.come_together();
        if (c.rank() != root) memcpy(element(buffer, first, bytes), c.slot(root), elements * bytes);
        c.part();
    });
}

void scatter(Communicator& c, const void* from, void* into, uint64_t count, size_t bytes, uint32_t root) {
    const size_t share = kSlotBytes / c.ranks() / bytes * bytes;
    in_rounds(count, share / bytes, [&](uint64_t first, uint64_t elements) {
        for (uint32_t rank = 0; c.rank() == root && rank < c.ranks(); rank++) {
            memcpy(c.slot(root) + rank * share, element(from, rank * count + first, bytes), elements * bytes);
        }
        c.come_together();
        memcpy(element(into, first, bytes), c.slot(root) + c.rank() * share, elements * bytes);
        c.part();
    });
}

Counts equal_displacements(uint64_t count, uint32_t ranks) {
    Counts displacements(ranks);
    for (uint32_t rank = 0; rank < ranks; rank++) displacements[rank] = rank * count;
    return displacements;
}

HcclResult launch_gather(const Call& call, const void* from, void* into, const Counts& counts,
                         const Counts& displacements) {
    const size_t bytes = bytes_of(call.type);
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("sendBuf", from, counts[of(call.comm)->rank()]));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("recvBuf", into, sum(counts)));
    return call.launch(call.intent(sum(counts)), sum(counts) * bytes, [=](Communicator& c) {
        gather_all(c, from, into, counts, displacements, bytes);
    });
}

HcclResult launch_reduce_scatter(const Call& call, const void* from, void* into, const Counts& counts,
                                 const Counts& displacements, HcclReduceOp op) {
    const HcclDataType type = call.type;
    CANN_SIM_RETURN_IF_REFUSED(call.check_reduction(op));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("sendBuf", from, sum(counts)));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("recvBuf", into, counts[of(call.comm)->rank()]));
    return call.launch(call.intent(sum(counts), op), sum(counts) * bytes_of(type), [=](Communicator& c) {
        reduce_and_scatter(c, from, into, counts, displacements, type, op);
    });
}

HcclResult launch_reduce(const Call& call, void* from, void* into, uint64_t count, HcclReduceOp op, uint32_t root) {
    const HcclDataType type = call.type;
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_reduction(op));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("sendBuf", from, count));
    if (root >= kMostRanks || root == of(call.comm)->rank()) {
        CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("recvBuf", into, count));
    }
    return call.launch(call.intent(count, op, root), count * bytes_of(type), [=](Communicator& c) {
        reduce_all(c, from, into, count, type, op, root);
    });
}

}  // namespace

CANN_API HcclResult HcclBarrier(HcclComm comm, aclrtStream stream) {
    const Call call{"HcclBarrier", comm, stream, HCCL_DATA_TYPE_INT8};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    return call.launch(call.intent(0), 0, [](Communicator& c) {
        c.come_together();
        c.part();
    });
}

CANN_API HcclResult HcclAllReduce(void* from, void* into, uint64_t count, HcclDataType type, HcclReduceOp op,
                                  HcclComm comm, aclrtStream stream) {
    return launch_reduce({"HcclAllReduce", comm, stream, type}, from, into, count, op, kMostRanks);
}

CANN_API HcclResult HcclReduce(void* from, void* into, uint64_t count, HcclDataType type, HcclReduceOp op,
                               uint32_t root, HcclComm comm, aclrtStream stream) {
    const Call call{"HcclReduce", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_rank("root", root));
    return launch_reduce(call, from, into, count, op, root);
}

CANN_API HcclResult HcclBroadcast(void* buffer, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,
                                  aclrtStream stream) {
    const Call call{"HcclBroadcast", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_type());
    CANN_SIM_RETURN_IF_REFUSED(call.check_rank("root", root));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("buf", buffer, count));
    const size_t bytes = bytes_of(type);
    return call.launch(call.intent(count, HCCL_REDUCE_RESERVED, root), count * bytes,
                       [=](Communicator& c) { broadcast(c, buffer, count, bytes, root); });
}

CANN_API HcclResult HcclScatter(void* from, void* into, uint64_t count, HcclDataType type, uint32_t root,
                                HcclComm comm, aclrtStream stream) {
    const Call call{"HcclScatter", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_type());
    CANN_SIM_RETURN_IF_REFUSED(call.check_rank("root", root));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("recvBuf", into, count));
    const size_t bytes = bytes_of(type);
    return call.launch(call.intent(count, HCCL_REDUCE_RESERVED, root), count * bytes,
                       [=](Communicator& c) { scatter(c, from, into, count, bytes, root); });
}

CANN_API HcclResult HcclAllGather(void* from, void* into, uint64_t count, HcclDataType type, HcclComm comm,
                                  aclrtStream stream) {
    const Call call{"HcclAllGather", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_type());
    const uint32_t ranks = of(comm)->ranks();
    return launch_gather(call, from, into, Counts(ranks, count), equal_displacements(count, ranks));
}

CANN_API HcclResult HcclAllGatherV(void* from, uint64_t count, void* into, const void* counts,
                                   const void* displacements, HcclDataType type, HcclComm comm, aclrtStream stream) {
    const Call call{"HcclAllGatherV", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_type());
    const uint32_t ranks = of(comm)->ranks();
    const Counts of_ranks = copied(counts, ranks);
    if (of_ranks[of(comm)->rank()] != count) {
        return refuse(HCCL_E_PARA, call.operation, "sendCount is not what recvCounts says of this rank");
    }
    return launch_gather(call, from, into, of_ranks, copied(displacements, ranks));
}

CANN_API HcclResult HcclReduceScatter(void* from, void* into, uint64_t count, HcclDataType type, HcclReduceOp op,
                                      HcclComm comm, aclrtStream stream) {
    const Call call{"HcclReduceScatter", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    const uint32_t ranks = of(comm)->ranks();
    return launch_reduce_scatter(call, from, into, Counts(ranks, count), equal_displacements(count, ranks), op);
}

CANN_API HcclResult HcclReduceScatterV(void* from, const void* counts, const void* displacements, void* into,
                                       uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm,
                                       aclrtStream stream) {
    const Call call{"HcclReduceScatterV", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    const uint32_t ranks = of(comm)->ranks();
    const Counts of_ranks = copied(counts, ranks);
    if (of_ranks[of(comm)->rank()] != count) {
        return refuse(HCCL_E_PARA, call.operation, "recvCount is not what sendCounts says of this rank");
    }
    return launch_reduce_scatter(call, from, into, of_ranks, copied(displacements, ranks), op);
}
