// Events: recording, waiting, asking, and the time between two of them.
#include "runtime/capture.h"

#include <algorithm>

using namespace cann_sim;

namespace {

// Outlives the event: the program may destroy an event while streams still wait for it.
struct EventState {
    uint64_t recorded = 0;  // how often the host asked
    uint64_t finished = 0;  // the latest of these that has come to pass
    std::chrono::steady_clock::time_point time;
    bool set = false;  // external events: between their record and their reset
    std::optional<Failure> failure;
};

struct Event {
    std::shared_ptr<EventState> state = std::make_shared<EventState>();
    bool external = false;
    std::weak_ptr<Capture> capture;  // where it was recorded, if that was a capture
    size_t edge = 0;

    bool complete() const { return state->finished >= state->recorded; }
};

Event& of(aclrtEvent handle) { return *static_cast<Event*>(handle); }

// In a capture external events are tasks like any other; elsewhere the task goes to the stream.
aclError record_or_push(Lock& lock, Stream& stream, Task task) {
    if (stream.capture) {
        record_task(stream, std::move(task));
        return ACL_SUCCESS;
    }
    push(lock, stream, std::move(task));
    return finish_synchronously(lock, stream);
}

Task mark_recorded(const std::shared_ptr<EventState>& state) {
    const uint64_t turn = ++state->recorded;
    Task task;
    task.finish = [state, turn](Stream& stream) {
        state->finished = std::max(state->finished, turn);
        state->time = std::chrono::steady_clock::now();
        state->set = true;
        state->failure = failure_of(stream);
    };
    return task;
}

Task wait_for(const Event& event) {
    const auto state = event.state;
    Task task;
    if (event.external) {
        task.ready = [state] { return state->set; };
    } else {
        task.ready = [state, turn = state->recorded] { return state->finished >= turn; };
    }
    // Whoever builds on failed work has failed.
    task.finish = [state](Stream& stream) {
        if (state->failure && !stream.failure) stream.failure = state->failure;
    };
    return task;
}

aclError refuse_captured(const Event& event, const std::string& function) {
    const auto capture = event.capture.lock();
    if (!capture) return ACL_SUCCESS;
    invalidate(*capture, function);
    return report(ACL_ERROR_RT_EVENT_CAPTURED, function + " of an event that was recorded in a capture: it never comes to pass");
}

bool anybody(const Stream&) { return true; }

}  // namespace

CANN_API aclError aclrtCreateEventExWithFlag(aclrtEvent* handle, uint32_t flag) {
    auto* event = new Event;
    event->external = (flag & ACL_EVENT_EXTERNAL) != 0;
    *handle = event;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtCreateEventWithFlag(aclrtEvent* handle, uint32_t flag) { return aclrtCreateEventExWithFlag(handle, flag); }
CANN_API aclError aclrtCreateEvent(aclrtEvent* handle) { return aclrtCreateEventExWithFlag(handle, 0); }

CANN_API aclError aclrtDestroyEvent(aclrtEvent handle) {
    delete static_cast<Event*>(handle);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtRecordEvent(aclrtEvent handle, aclrtStream stream_handle) {
    Lock lock(timeline().mutex);
    Event& event = of(handle);
    Stream& stream = stream_of(lock, stream_handle);
    event.capture.reset();
    if (stream.capture && !event.external) {
        event.capture = stream.capture;
        event.edge = record_edge(stream);
        return ACL_SUCCESS;
    }
    return record_or_push(lock, stream, mark_recorded(event.state));
}

CANN_API aclError aclrtResetEvent(aclrtEvent handle, aclrtStream stream_handle) {
    Lock lock(timeline().mutex);
    const auto state = of(handle).state;
    Task task;
    task.finish = [state](Stream&) { state->set = false; };
    return record_or_push(lock, stream_of(lock, stream_handle), std::move(task));
}

CANN_API aclError aclrtStreamWaitEvent(aclrtStream stream_handle, aclrtEvent handle) {
    Lock lock(timeline().mutex);
    const Event& event = of(handle);
    Stream& stream = stream_of(lock, stream_handle);
    if (const auto capture = event.capture.lock()) return wait_for_edge(lock, stream, capture, event.edge);
    if (!event.external && event.state->recorded == 0) return ACL_SUCCESS;  // never recorded: nothing to wait for
    if (stream.capture && !event.external) {
        invalidate(*stream.capture, "aclrtStreamWaitEvent");
        return report(ACL_ERROR_RT_CAPTURE_DEPENDENCY,
                      "aclrtStreamWaitEvent: a captured stream cannot wait for an event that was recorded outside of the capture");
    }
    return record_or_push(lock, stream, wait_for(event));
}

CANN_API aclError aclrtSynchronizeEventWithTimeout(aclrtEvent handle, int32_t milliseconds) {
    Lock lock(timeline().mutex);
    const Event& event = of(handle);
    if (const aclError refused = refuse_captured(event, "aclrtSynchronizeEvent")) return refused;
    const auto state = event.state;  // another thread may destroy the event meanwhile
    const auto done = [state, turn = state->recorded] { return state->finished >= turn; };
    if (!wait_until(lock, done, anybody, deadline_after(milliseconds))) {
        return report(ACL_ERROR_RT_EVENT_SYNC_TIMEOUT, "aclrtSynchronizeEvent: the event did not come to pass in time");
    }
    return state->failure ? report(state->failure->code, "aclrtSynchronizeEvent: " + state->failure->message) : ACL_SUCCESS;
}

CANN_API aclError aclrtSynchronizeEvent(aclrtEvent handle) { return aclrtSynchronizeEventWithTimeout(handle, -1); }

CANN_API aclError aclrtQueryEventStatus(aclrtEvent handle, aclrtEventRecordedStatus* status) {
    Lock lock(timeline().mutex);
    const Event& event = of(handle);
    if (const aclError refused = refuse_captured(event, "aclrtQueryEventStatus")) return refused;
    if (!event.complete()) let_some_through(lock, anybody);
    *status = event.complete() ? ACL_EVENT_RECORDED_STATUS_COMPLETE : ACL_EVENT_RECORDED_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtQueryEventWaitStatus(aclrtEvent handle, aclrtEventWaitStatus* status) {
    Lock lock(timeline().mutex);
    *status = of(handle).complete() ? ACL_EVENT_WAIT_STATUS_COMPLETE : ACL_EVENT_WAIT_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtEventElapsedTime(float* milliseconds, aclrtEvent start, aclrtEvent end) {
    Lock lock(timeline().mutex);
    for (const aclrtEvent handle : {start, end}) {
        if (!of(handle).complete() || of(handle).state->recorded == 0) {
            return report(ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID, "aclrtEventElapsedTime of an event that has not come to pass; synchronise first");
        }
    }
    const std::chrono::duration<float, std::milli> elapsed = of(end).state->time - of(start).state->time;
    *milliseconds = elapsed.count();
    return ACL_SUCCESS;
}

CANN_API aclError aclrtEventGetTimestamp(aclrtEvent handle, uint64_t* microseconds) {
    Lock lock(timeline().mutex);
    const auto since = of(handle).state->time.time_since_epoch();
    *microseconds = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
    return ACL_SUCCESS;
}
