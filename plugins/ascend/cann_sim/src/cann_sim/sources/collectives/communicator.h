// One rank's end of a communicator: joining, meeting the others at barriers, and saying who did not come.
#pragma once

#include "segment.h"
#include "waiting.h"

#include <hccl/hccl.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace cann_sim::collectives {

class Communicator {
public:
    // Comes to the segment and waits until all ranks have. Throws std::runtime_error that names those who did not.
    Communicator(const Segment::Address& address, uint32_t ranks, uint32_t rank, std::string name);
    // Tells the others that this rank will not come any more.
    ~Communicator();

    uint32_t ranks() const { return ranks_; }
    uint32_t rank() const { return rank_; }
    const std::string& name() const { return name_; }
    void rename(const std::string& name) { name_ = name; }
    void set_execution_timeout(std::chrono::seconds timeout) { timeout_ = timeout; }

    // Runs a collective of this rank: one at a time. What it throws becomes OperationFailed, and known to the others.
    void perform(const Intent& intent, const std::function<void()>& steps);

    // The following are for steps.
    char* slot(uint32_t rank) const { return segment_.slot(rank); }
    Mailbox& mailbox(uint32_t from, uint32_t to) const { return segment_.mailbox(from, to); }
    void ring(uint32_t rank) const { collectives::ring(segment_.seat(rank).bell); }
    // Between these two all ranks see each other's slots. come_together() throws if another rank means to do something
    // else; after part() each may go on to what is next.
    void come_together();
    void part() { meet(); }
    // Returns when `done` says so, which hangs on what `needed` ranks do.
    void wait_for(const std::function<bool()>& done, const std::function<bool(uint32_t)>& needed);

    // Ends the communicator for all ranks; throws OperationFailed.
    [[noreturn]] void give_up(const std::string& reason, bool timed_out = false) const;

private:
    void meet();
    void check_intents() const;
    // Why rank cannot be waited for any more; empty if it can.
    std::string why_gone(uint32_t rank) const;
    std::string someone_gone(const std::function<bool(uint32_t)>& needed) const;

    Segment segment_;
    const uint32_t ranks_, rank_;
    std::string name_;
    std::chrono::seconds timeout_;
    std::mutex one_at_a_time_;
};

// As users of the C interface hold it. Work on streams shares it, so that a communicator outlives what is queued.
struct Handle {
    std::shared_ptr<Communicator> communicator;
};

inline std::shared_ptr<Communicator> of(HcclComm comm) {
    return comm ? static_cast<Handle*>(comm)->communicator : nullptr;
}

}  // namespace cann_sim::collectives
