// Waiting for streams: synchronise with and without a timeout, and what it reports.
#include "runtime/capture.h"
#include "runtime/timeline.h"

namespace cann_sim {
namespace {

bool adversarial() { return settings().streams == StreamMode::adversarial; }

// Gives the failure to the program. Synchronous streams go on afterwards, as their launches reported it already;
// asynchronous ones stay failed, because what ran after the failure is worthless.
aclError reported(const std::string& function, Stream& stream) {
    const auto failure = failure_of(stream);
    if (!failure) return ACL_SUCCESS;
    if (settings().streams == StreamMode::synchronous) stream.failure.reset();
    return report(failure->code, function + ": " + failure->message);
}

bool waits_for_what_is_to_come(const Stream& stream) {
    return !stream.busy && !stream.queue.empty() && stream.queue.front().ready && !stream.queue.front().ready();
}

// A graph's branches run on streams of their own, for which its stream waits: those must have come to rest as well.
bool has_settled(const Stream& stream) {
    if (stream.idle()) return true;
    if (!waits_for_what_is_to_come(stream)) return false;
    for (const Stream* other : timeline().streams) {
        if (!other->idle() && !waits_for_what_is_to_come(*other)) return false;
    }
    return true;
}

}  // namespace

Deadline deadline_after(int32_t milliseconds) {
    if (milliseconds < 0) return std::nullopt;
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
}

bool wait_until(Lock& lock, const std::function<bool()>& done, const std::function<bool(const Stream&)>& wanted, Deadline deadline) {
    Timeline& all = timeline();
    while (!done()) {
        if (deadline && std::chrono::steady_clock::now() >= *deadline) return false;
        all.last_activity = std::chrono::steady_clock::now();
        Stream* next = adversarial() ? unhelpful_choice(lock, wanted) : nullptr;
        if (next != nullptr) {
            grant(lock, *next);
        } else if (deadline) {
            all.changed.wait_until(lock, *deadline);
        } else {
            all.changed.wait(lock);
        }
    }
    return true;
}

aclError finish_synchronously(Lock& lock, Stream& stream) {
    if (settings().streams != StreamMode::synchronous) return ACL_SUCCESS;
    timeline().changed.wait(lock, [&] { return has_settled(stream) || stream.hanging; });
    const auto failure = failure_of(stream);
    return failure ? report(failure->code, failure->message) : ACL_SUCCESS;
}

aclError synchronize_stream(const std::string& function, aclrtStream handle, Deadline deadline) {
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (const aclError refused = refuse_on_captured_stream(lock, stream, function)) return refused;
    const auto done = [&] { return stream.idle(); };
    const auto wanted = [&](const Stream& other) { return &other == &stream; };
    if (!wait_until(lock, done, wanted, deadline)) {
        return report(ACL_ERROR_RT_STREAM_SYNC_TIMEOUT, function + ": stream " + std::to_string(stream.id) + " of device " +
                          std::to_string(stream.device) + " did not finish in time");
    }
    return reported(function, stream);
}

aclError synchronize_device(const std::string& function, int device, Deadline deadline) {
    Lock lock(timeline().mutex);
    if (const aclError refused = refuse_while_capturing(lock, function)) return refused;
    const auto of_device = [device](const Stream& stream) { return stream.device == device; };
    const auto done = [&] {
        for (const Stream* stream : timeline().streams) {
            if (of_device(*stream) && !stream->idle()) return false;
        }
        return true;
    };
    if (!wait_until(lock, done, of_device, deadline)) {
        return report(ACL_ERROR_RT_STREAM_SYNC_TIMEOUT, function + ": device " + std::to_string(device) + " did not finish in time");
    }
    for (Stream* stream : timeline().streams) {
        if (of_device(*stream) && failure_of(*stream)) return reported(function, *stream);
    }
    return ACL_SUCCESS;
}

}  // namespace cann_sim
