// What goes from one rank to one other: send, receive, batches of both, and all-to-all, which is a batch too.
#include "launching.h"
#include "messages.h"

#include <cstring>
#include <vector>

using namespace cann_sim;
using namespace cann_sim::collectives;

namespace {

HcclResult check(const Call& call, const char* role, const void* buffer, uint64_t count, uint32_t peer) {
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    CANN_SIM_RETURN_IF_REFUSED(call.check_type());
    CANN_SIM_RETURN_IF_REFUSED(call.check_rank("the other", peer));
    if (peer == of(call.comm)->rank()) return refuse(HCCL_E_PARA, call.operation, "a rank cannot write to itself");
    return call.check_buffer(role, buffer, count);
}

HcclResult launch_one(const Call& call, Message::Direction direction, void* buffer, uint64_t count, uint32_t peer) {
    const HcclDataType type = call.type;
    const uint64_t bytes = count * bytes_of(type);
    return call.launch(call.intent(count), bytes, [=](Communicator& c) {
        exchange(c, {Message{direction, peer, host_alias(buffer), bytes, type}});
    });
}

// One side of an all-to-all: how many elements lie where for each rank.
struct Layout {
    Layout(const void* counts, const void* displacements, uint32_t ranks)
        : counts(static_cast<const uint64_t*>(counts), static_cast<const uint64_t*>(counts) + ranks),
          displacements(static_cast<const uint64_t*>(displacements),
                        static_cast<const uint64_t*>(displacements) + ranks) {}
    Layout(uint64_t count, uint32_t ranks) : counts(ranks, count), displacements(ranks) {
        for (uint32_t rank = 0; rank < ranks; rank++) displacements[rank] = rank * count;
    }
    uint64_t total() const {
        uint64_t sum = 0;
        for (const uint64_t count : counts) sum += count;
        return sum;
    }

    std::vector<uint64_t> counts, displacements;
};

void all_to_all(Communicator& c, const void* from, const Layout& out, const void* into, const Layout& in,
                HcclDataType type) {
    const size_t bytes = bytes_of(type);
    const uint32_t me = c.rank();
    memcpy(element(into, in.displacements[me], bytes), element(from, out.displacements[me], bytes),
           out.counts[me] * bytes);
    std::vector<Message> messages;
    for (uint32_t rank = 0; rank < c.ranks(); rank++) {
        if (rank == me) continue;
        messages.push_back({Message::Direction::out, rank, element(from, out.displacements[rank], bytes),
                            out.counts[rank] * bytes, type});
        messages.push_back({Message::Direction::in, rank, element(into, in.displacements[rank], bytes),
                            in.counts[rank] * bytes, type});
    }
    exchange(c, messages);
}

HcclResult launch_all_to_all(const Call& call, const void* from, const Layout& out, HcclDataType received,
                             const void* into, const Layout& in) {
    CANN_SIM_RETURN_IF_REFUSED(call.check_type());
    if (received != call.type) return refuse(HCCL_E_PARA, call.operation, "sendType and recvType differ");
    const uint32_t me = of(call.comm)->rank();
    if (out.counts[me] != in.counts[me]) {
        return refuse(HCCL_E_PARA, call.operation, "a rank gives itself another number of elements than it takes");
    }
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("sendBuf", from, out.total()));
    CANN_SIM_RETURN_IF_REFUSED(call.check_buffer("recvBuf", into, in.total()));
    const HcclDataType type = call.type;
    return call.launch(call.intent(out.total()), out.total() * bytes_of(type),
                       [=](Communicator& c) { all_to_all(c, from, out, into, in, type); });
}

}  // namespace

CANN_API HcclResult HcclSend(void* buffer, uint64_t count, HcclDataType type, uint32_t to, HcclComm comm,
                             aclrtStream stream) {
    const Call call{"HcclSend", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(check(call, "sendBuf", buffer, count, to));
    return launch_one(call, Message::Direction::out, buffer, count, to);
}

CANN_API HcclResult HcclRecv(void* buffer, uint64_t count, HcclDataType type, uint32_t from, HcclComm comm,
                             aclrtStream stream) {
    const Call call{"HcclRecv", comm, stream, type};
    CANN_SIM_RETURN_IF_REFUSED(check(call, "recvBuf", buffer, count, from));
    return launch_one(call, Message::Direction::in, buffer, count, from);
}

CANN_API HcclResult HcclBatchSendRecv(HcclSendRecvItem* items, uint32_t count, HcclComm comm, aclrtStream stream) {
    const std::vector<HcclSendRecvItem> batch(items, items + count);
    uint64_t bytes = 0;
    for (const HcclSendRecvItem& item : batch) {
        const Call each{"HcclBatchSendRecv", comm, stream, item.dataType};
        CANN_SIM_RETURN_IF_REFUSED(check(each, "buf", item.buf, item.count, item.remoteRank));
        bytes += item.count * bytes_of(item.dataType);
    }
    const Call call{"HcclBatchSendRecv", comm, stream, HCCL_DATA_TYPE_INT8};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    return call.launch(call.intent(bytes), bytes, [batch](Communicator& c) {
        std::vector<Message> messages;
        for (const HcclSendRecvItem& item : batch) {
            const auto direction = item.sendRecvType == HCCL_SEND ? Message::Direction::out : Message::Direction::in;
            const size_t size = item.count * bytes_of(item.dataType);
            messages.push_back({direction, item.remoteRank, host_alias(item.buf), size, item.dataType});
        }
        exchange(c, messages);
    });
}

CANN_API HcclResult HcclAlltoAllV(const void* from, const void* send_counts, const void* send_displacements,
                                  HcclDataType send_type, const void* into, const void* receive_counts,
                                  const void* receive_displacements, HcclDataType receive_type, HcclComm comm,
                                  aclrtStream stream) {
    const Call call{"HcclAlltoAllV", comm, stream, send_type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    const uint32_t ranks = of(comm)->ranks();
    return launch_all_to_all(call, from, Layout(send_counts, send_displacements, ranks), receive_type, into,
                             Layout(receive_counts, receive_displacements, ranks));
}

CANN_API HcclResult HcclAlltoAll(const void* from, uint64_t send_count, HcclDataType send_type, const void* into,
                                 uint64_t receive_count, HcclDataType receive_type, HcclComm comm,
                                 aclrtStream stream) {
    const Call call{"HcclAlltoAll", comm, stream, send_type};
    CANN_SIM_RETURN_IF_REFUSED(call.check_communicator());
    const uint32_t ranks = of(comm)->ranks();
    return launch_all_to_all(call, from, Layout(send_count, ranks), receive_type, into, Layout(receive_count, ranks));
}
