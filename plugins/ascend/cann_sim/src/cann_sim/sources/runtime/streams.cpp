// Streams: enqueueing work, creating, destroying, querying and synchronising them.
#include "runtime/capture.h"
#include "runtime/devices.h"

#include <algorithm>

namespace cann_sim {

aclError enqueue(aclrtStream handle, const Operation& operation, std::function<void()> work) {
    if (const aclError refused = before_operation(operation.name, operation.bytes)) return refused;
    Task task;
    task.operation = operation;
    task.run = std::move(work);
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (stream.retired) return report(ACL_ERROR_RT_PARAM_INVALID, operation.name + " on a stream that was destroyed");
    if (stream.update) {
        stream.update->tasks.push_back(std::move(task));
        return ACL_SUCCESS;
    }
    if (stream.capture) {
        record_task(stream, std::move(task));
        return ACL_SUCCESS;
    }
    if (handle == nullptr) {
        if (const aclError refused = refuse_default_stream(lock, operation.name)) return refused;
    }
    const auto lost = timeline().lost.find(stream.device);
    if (lost != timeline().lost.end()) return report(lost->second.code, operation.name + ": " + lost->second.message);
    push(lock, stream, std::move(task));
    return finish_synchronously(lock, stream);
}

bool is_capturing(aclrtStream handle) {
    Lock lock(timeline().mutex);
    const Stream& stream = stream_of(lock, handle);
    return stream.capture || stream.update;
}

}  // namespace cann_sim

using namespace cann_sim;

namespace {

// The thread ends by itself; the struct stays, because programs compare handles after the end.
aclError destroy(const std::string& function, aclrtStream handle, bool finish_first) {
    if (handle == nullptr) return report(ACL_ERROR_RT_PARAM_INVALID, function + " of no stream");
    if (finish_first) synchronize_stream(function, handle, std::nullopt);  // its failure was the program's to ask for
    std::deque<Task> dropped;  // ends after the lock
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (const aclError refused = refuse_on_captured_stream(lock, stream, function)) return refused;
    stream.retired = true;
    stream.aborting = true;
    dropped = drop_queue(lock, stream);
    timeline().changed.notify_all();
    return ACL_SUCCESS;
}

}  // namespace

CANN_API aclError aclrtCreateStreamWithConfig(aclrtStream* handle, uint32_t, uint32_t) {
    Lock lock(timeline().mutex);
    *handle = create_stream(lock, current_device());
    return ACL_SUCCESS;
}

CANN_API aclError aclrtCreateStream(aclrtStream* handle) { return aclrtCreateStreamWithConfig(handle, 0, 0); }

CANN_API aclError aclrtDestroyStream(aclrtStream handle) { return destroy("aclrtDestroyStream", handle, true); }
CANN_API aclError aclrtDestroyStreamForce(aclrtStream handle) { return destroy("aclrtDestroyStreamForce", handle, false); }

CANN_API aclError aclrtSynchronizeStream(aclrtStream handle) {
    return synchronize_stream("aclrtSynchronizeStream", handle, std::nullopt);
}

CANN_API aclError aclrtSynchronizeStreamWithTimeout(aclrtStream handle, int32_t milliseconds) {
    return synchronize_stream("aclrtSynchronizeStreamWithTimeout", handle, deadline_after(milliseconds));
}

CANN_API aclError aclrtSynchronizeDevice(void) {
    return synchronize_device("aclrtSynchronizeDevice", current_device(), std::nullopt);
}

CANN_API aclError aclrtSynchronizeDeviceWithTimeout(int32_t milliseconds) {
    return synchronize_device("aclrtSynchronizeDeviceWithTimeout", current_device(), deadline_after(milliseconds));
}

CANN_API aclError aclrtStreamQuery(aclrtStream handle, aclrtStreamStatus* status) {
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (const aclError refused = refuse_on_captured_stream(lock, stream, "aclrtStreamQuery")) return refused;
    if (!stream.idle()) let_some_through(lock, [&](const Stream& other) { return &other == &stream; });
    *status = stream.idle() ? ACL_STREAM_STATUS_COMPLETE : ACL_STREAM_STATUS_NOT_READY;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtStreamGetId(aclrtStream handle, int32_t* id) {
    Lock lock(timeline().mutex);
    *id = stream_of(lock, handle).id;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtSetStreamFailureMode(aclrtStream handle, uint64_t mode) {
    Lock lock(timeline().mutex);
    stream_of(lock, handle).stops_on_failure = mode == ACL_STOP_ON_FAILURE;
    return ACL_SUCCESS;
}

// Throws away what is queued on the device and clears its failures (not a lost device): how a process recovers.
CANN_API aclError aclrtDeviceTaskAbort(int32_t device, uint32_t) {
    std::vector<std::deque<Task>> dropped;  // end after the lock
    Lock lock(timeline().mutex);
    const auto of_device = [device](const Stream* stream) { return stream->device == device; };
    for (Stream* stream : timeline().streams) {
        if (!of_device(stream)) continue;
        dropped.push_back(drop_queue(lock, *stream));
        stream->aborting = true;
    }
    timeline().changed.notify_all();
    const auto at_rest = [&] {
        return std::none_of(timeline().streams.begin(), timeline().streams.end(),
                            [&](const Stream* stream) { return of_device(stream) && stream->busy; });
    };
    timeline().changed.wait(lock, at_rest);
    for (Stream* stream : timeline().streams) {
        if (!of_device(stream)) continue;
        stream->aborting = stream->retired;
        stream->failure.reset();
    }
    return ACL_SUCCESS;
}
