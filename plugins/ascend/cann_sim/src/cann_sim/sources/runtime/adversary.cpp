// The adversary: which of the permitted orders to take, so that a missing synchronisation shows.
//
// Nothing runs before something forces it. Then the stream goes first whose next task is the youngest: that turns round
// every pair of tasks that the program did not order. A consumer that did not wait for its producer runs before it; an
// overwriter that did not wait for the reader runs before that one. Work that is older, and that nobody asked for, stays
// undone. So a single missing wait shows in every run, whatever the seed. Only the update of a graph's task group is meant
// to overtake what was asked for before it; it goes last, so that a replay that does not wait for it is stale.
//
// Only where two wrongs exclude each other is there a choice, and the seed makes it: the youngest next task belongs to a
// stream nobody asked for, while the stream that is asked for has even younger work behind an old one.
#include "runtime/timeline.h"

namespace cann_sim {
namespace {

bool can_run(const Stream& stream) {
    if (stream.busy || stream.granted > 0 || stream.queue.empty()) return false;
    const Task& head = stream.queue.front();
    return !head.ready || failure_of(stream) || head.ready();
}

// Of the next task; an update counts as older than anything.
uint64_t oldest(const Stream& stream) { return stream.queue.front().last ? 0 : stream.queue.front().sequence; }
uint64_t youngest(const Stream& stream) { return stream.queue.back().sequence; }

bool coin(Timeline& all) { return (all.choice() >> 32) % 2 == 0; }

}  // namespace

Stream* unhelpful_choice(Lock&, const std::function<bool(const Stream&)>& wanted) {
    Stream* first = nullptr;
    for (Stream* stream : timeline().streams) {
        if (can_run(*stream) && (first == nullptr || oldest(*stream) > oldest(*first))) first = stream;
    }
    if (first == nullptr || wanted(*first)) return first;
    for (Stream* stream : timeline().streams) {
        if (stream == first || !can_run(*stream) || !wanted(*stream)) continue;
        if (youngest(*stream) > oldest(*first) && coin(timeline())) return stream;
    }
    return first;
}

void grant(Lock& lock, Stream& stream) {
    const bool may_block = stream.queue.front().operation.may_block;
    stream.granted = 1;
    timeline().changed.notify_all();
    if (may_block) return;
    timeline().changed.wait(lock, [&] { return timeline().closing || stream.hanging || (stream.granted == 0 && !stream.busy); });
}

void let_some_through(Lock& lock, const std::function<bool(const Stream&)>& wanted) {
    if (settings().streams != StreamMode::adversarial) return;
    timeline().last_activity = std::chrono::steady_clock::now();
    if (coin(timeline())) return;
    if (Stream* next = unhelpful_choice(lock, wanted)) grant(lock, *next);
}

}  // namespace cann_sim
