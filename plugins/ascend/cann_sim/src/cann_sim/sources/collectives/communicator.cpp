// Joining, barriers, and the sentences for when a rank does not come.
#include "communicator.h"

#include "common/simulator.h"
#include "data_types.h"

#include <unistd.h>

#include <cstring>

namespace cann_sim::collectives {

namespace {

// HCCL's own variables; its default for execution is 1836 s, which is for machines whose ranks are slow to find each other.
constexpr int kConnectSeconds = 120;
constexpr int kExecuteSeconds = 300;

std::string listed(const std::string& list, uint32_t rank) {
    return list + (list.empty() ? "" : ", ") + std::to_string(rank);
}

bool same(const Intent& left, const Intent& right) {
    return strcmp(left.operation, right.operation) == 0 && left.count == right.count &&
           left.data_type == right.data_type && left.reduce_op == right.reduce_op && left.root == right.root;
}

std::string described(const Intent& intent) {
    static const char* const kOps[] = {"sum", "prod", "max", "min"};
    std::string text = std::string(intent.operation) + " of " + std::to_string(intent.count) + " " +
                       name_of(static_cast<HcclDataType>(intent.data_type));
    if (intent.reduce_op < 4) text += std::string(" by ") + kOps[intent.reduce_op];
    if (intent.root < kMostRanks) text += " with root " + std::to_string(intent.root);
    return text;
}

}  // namespace

Communicator::Communicator(const Segment::Address& address, uint32_t ranks, uint32_t rank, std::string name)
    : segment_(address, ranks),
      ranks_(ranks),
      rank_(rank),
      name_(std::move(name)),
      timeout_(seconds_from("HCCL_EXEC_TIMEOUT", kExecuteSeconds)) {
    uint32_t nobody = 0;
    if (!segment_.header().ranks.compare_exchange_strong(nobody, ranks) && nobody != ranks) {
        throw std::runtime_error("another rank says that communicator " + name_ + " has " + std::to_string(nobody) +
                                 " ranks, not " + std::to_string(ranks));
    }
    segment_.seat(rank).pid = static_cast<uint32_t>(getpid());
    for (uint32_t other = 0; other < ranks; other++) ring(other);

    std::string missing;
    const auto all_came = [&] {
        missing.clear();
        for (uint32_t other = 0; other < ranks; other++) {
            if (segment_.seat(other).pid == 0) missing = listed(missing, other);
        }
        return missing.empty();
    };
    const auto seconds = seconds_from("HCCL_CONNECT_TIMEOUT", kConnectSeconds);
    const auto waited = wait_until(
        segment_.seat(rank).bell, all_came, [&] { return must_stop_waiting() || !is_running(address.pid); },
        Clock::now() + seconds);
    if (waited == Waited::done) return;
    segment_.seat(rank).left = 1;  // who comes later need not wait for this one
    throw std::runtime_error("rank " + std::to_string(rank) + " waited for rank " + missing + " of " +
                             std::to_string(ranks) + " to join communicator " + name_ +
                             (waited == Waited::too_long
                                  ? " for " + std::to_string(seconds.count()) + " s (HCCL_CONNECT_TIMEOUT)"
                                  : ", but process " + std::to_string(address.pid) + " has ended"));
}

Communicator::~Communicator() {
    segment_.seat(rank_).left = 1;
    for (uint32_t other = 0; other < ranks_; other++) ring(other);
}

void Communicator::perform(const Intent& intent, const std::function<void()>& steps) {
    const std::lock_guard<std::mutex> lock(one_at_a_time_);
    segment_.seat(rank_).intent = intent;
    steps();
}

void Communicator::meet() {
    const uint32_t mine = segment_.seat(rank_).arrivals.fetch_add(1) + 1;
    for (uint32_t other = 0; other < ranks_; other++) {
        if (other != rank_) ring(other);
    }
    const auto lacking = [&](uint32_t other) {
        return static_cast<int32_t>(segment_.seat(other).arrivals.load() - mine) < 0;
    };
    wait_for(
        [&] {
            for (uint32_t other = 0; other < ranks_; other++) {
                if (lacking(other)) return false;
            }
            return true;
        },
        lacking);
}

void Communicator::come_together() {
    meet();
    check_intents();
}

void Communicator::wait_for(const std::function<bool()>& done, const std::function<bool(uint32_t)>& needed) {
    const auto in_vain = [&] { return must_stop_waiting() || !someone_gone(needed).empty(); };
    switch (wait_until(segment_.seat(rank_).bell, done, in_vain, Clock::now() + timeout_)) {
        case Waited::done: return;
        case Waited::in_vain: {
            const std::string gone = someone_gone(needed);
            give_up(gone.empty() ? "the device of rank " + std::to_string(rank_) + " was stopped" : gone);
        }
        case Waited::too_long: {
            std::string waited_for;
            for (uint32_t other = 0; other < ranks_; other++) {
                if (needed(other)) waited_for = listed(waited_for, other);
            }
            give_up("rank " + std::to_string(rank_) + " waited for rank " + waited_for + " for " +
                        std::to_string(timeout_.count()) + " s (HCCL_EXEC_TIMEOUT)",
                    true);
        }
    }
}

// Nobody changes an intent meanwhile: that is for after part().
void Communicator::check_intents() const {
    const Intent& mine = segment_.seat(rank_).intent;
    for (uint32_t other = 0; other < ranks_; other++) {
        const Intent& theirs = segment_.seat(other).intent;
        if (!same(mine, theirs)) {
            give_up("rank " + std::to_string(rank_) + " came to " + described(mine) + ", rank " +
                    std::to_string(other) + " to " + described(theirs));
        }
    }
}

std::string Communicator::why_gone(uint32_t rank) const {
    const Seat& seat = segment_.seat(rank);
    const std::string who = "rank " + std::to_string(rank) + " (process " + std::to_string(seat.pid) + ")";
    if (seat.failed) return who + " gave up: " + seat.reason;
    if (seat.left) return who + " has destroyed the communicator";
    if (!is_running(seat.pid)) return who + " has ended";
    return "";
}

std::string Communicator::someone_gone(const std::function<bool(uint32_t)>& needed) const {
    for (uint32_t other = 0; other < ranks_; other++) {
        if (other == rank_ || !needed(other)) continue;
        if (const std::string why = why_gone(other); !why.empty()) return why;
    }
    return "";
}

void Communicator::give_up(const std::string& reason, bool timed_out) const {
    Seat& seat = segment_.seat(rank_);
    const std::string what = std::string(seat.intent.operation) + " on rank " + std::to_string(rank_) + " of " +
                             std::to_string(ranks_) + " in communicator " + name_ + " failed: " + reason;
    strncpy(seat.reason, reason.c_str(), sizeof seat.reason - 1);
    seat.failed = 1;
    for (uint32_t other = 0; other < ranks_; other++) ring(other);
    throw OperationFailed(timed_out ? ACL_ERROR_RT_FFTS_PLUS_TIMEOUT : ACL_ERROR_RT_AICPU_EXCEPTION, what);
}

}  // namespace cann_sim::collectives
