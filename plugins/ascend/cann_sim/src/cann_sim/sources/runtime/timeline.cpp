// The timeline: the streams' threads, and queueing work on them.
#include "runtime/timeline.h"

#include "common/faults.h"
#include "runtime/counters.h"
#include "runtime/devices.h"

#include <cstdlib>
#include <thread>

namespace cann_sim {
namespace {

thread_local const Stream* current_stream = nullptr;
thread_local std::string current_operation;

bool may_start(const Stream& stream) {
    if (stream.busy || stream.queue.empty()) return false;
    if (settings().streams == StreamMode::adversarial && stream.granted == 0) return false;
    const Task& head = stream.queue.front();
    // A failed stream, or one on a lost device, waits for nothing any more.
    return !head.ready || failure_of(stream) || head.ready();
}

std::string place(const Stream& stream) {
    return "device " + std::to_string(stream.device) + ", stream " + std::to_string(stream.id);
}

void record_failure(Stream& stream, const std::string& operation, aclError code, const std::string& what) {
    if (stream.failure) return;  // the first one is the cause
    const std::string message = operation + " failed on " + place(stream) + ": " + what;
    stream.failure = Failure{code, message};
    report(code, message);
}

void run_task(Lock& lock, Stream& stream, const Task& task) {
    const bool skip = !task.run || (failure_of(stream) && stream.stops_on_failure);
    std::optional<Failure> failure;
    if (!skip) {
        lock.unlock();
        try {
            execute(task, stream);
        } catch (const OperationFailed& error) {
            failure = Failure{error.code, error.what()};
        } catch (const std::exception& error) {
            failure = Failure{ACL_ERROR_RT_AICORE_EXCEPTION, error.what()};
        }
        lock.lock();
    }
    // Not the task's name: a task group holds several operations, and execute() noted which one it was at.
    if (failure) record_failure(stream, current_operation, failure->code, failure->message);
    current_operation.clear();
    if (task.finish) task.finish(stream);
}

void work(Stream* stream) {
    Timeline& all = timeline();
    current_stream = stream;
    Lock lock(all.mutex);
    for (;;) {
        all.changed.wait(lock, [&] { return all.closing || may_start(*stream) || (stream->retired && stream->idle()); });
        if (all.closing || stream->queue.empty()) return;
        Task task = std::move(stream->queue.front());
        stream->queue.pop_front();
        stream->busy = true;
        if (stream->granted > 0) --stream->granted;
        run_task(lock, *stream, task);
        // What the task owns may be tensors, whose end calls back into the runtime.
        lock.unlock();
        task = Task();
        lock.lock();
        stream->busy = false;
        all.changed.notify_all();
    }
}

// At exit no thread may be inside an operator: the libraries it runs in are about to be torn down.
void close_timeline() {
    Timeline& all = timeline();
    Lock lock(all.mutex);
    all.closing = true;
    all.changed.notify_all();
    all.changed.wait_for(lock, std::chrono::seconds(2), [&] {
        for (const Stream* stream : all.streams) {
            if (stream->busy) return false;
        }
        return true;
    });
    lock.unlock();
    write_counters_file();
}

// A device makes progress also when nobody waits for it: another process may need it to (collectives). Work that has
// been deferred for this long runs, as unhelpfully as ever.
constexpr auto PATIENCE = std::chrono::seconds(1);

void guarantee_progress() {
    Timeline& all = timeline();
    Lock lock(all.mutex);
    const auto any = [](const Stream&) { return true; };
    while (!all.closing) {
        all.changed.wait_for(lock, PATIENCE / 4);
        if (std::chrono::steady_clock::now() - all.last_activity < PATIENCE) continue;
        while (Stream* next = unhelpful_choice(lock, any)) grant(lock, *next);
    }
}

Timeline* create() {
    auto* fresh = new Timeline;  // never destroyed: threads outlive main()
    fresh->choice.seed(settings().seed);
    fresh->last_activity = std::chrono::steady_clock::now();
    return fresh;
}

void sleep_through(const Fault& fault, Stream& stream) {
    const auto give_up = [&] { return timeline().closing || stream.aborting; };
    Lock lock(timeline().mutex);
    if (fault.action == FaultAction::hang) {
        stream.hanging = true;
        timeline().changed.notify_all();
        timeline().changed.wait(lock, give_up);
        stream.hanging = false;
    } else {
        timeline().changed.wait_for(lock, fault.delay, give_up);
    }
}

void apply(const Fault& fault, const Task& task, Stream& stream) {
    const std::string cause = " (fault rule '" + fault.rule + "')";
    switch (fault.action) {
        case FaultAction::slow:
            return sleep_through(fault, stream);
        case FaultAction::hang:
            sleep_through(fault, stream);
            throw OperationFailed(ACL_ERROR_RT_STREAM_ABORT, "it was aborted while hanging" + cause);
        case FaultAction::fail:
            throw OperationFailed(ACL_ERROR_RT_AICORE_EXCEPTION, "the kernel raised an exception" + cause);
        case FaultAction::timeout:
            throw OperationFailed(ACL_ERROR_RT_TASK_TIMEOUT, "it timed out" + cause);
        case FaultAction::lost: {
            Lock lock(timeline().mutex);
            timeline().lost[stream.device] = {ACL_ERROR_RT_LOST_HEARTBEAT, "device " + std::to_string(stream.device) +
                                              " was lost in " + task.operation.name + " on " + place(stream) + cause};
            timeline().changed.notify_all();
            throw OperationFailed(ACL_ERROR_RT_LOST_HEARTBEAT, "the device was lost" + cause);
        }
        default:
            return;
    }
}

}  // namespace

Timeline& timeline() {
    static Timeline* const instance = [] {
        std::atexit(close_timeline);
        return create();
    }();
    // Its own step: the thread asks for the timeline, too.
    static const bool watched = settings().streams == StreamMode::adversarial &&
                                (std::thread([i = instance] { static_cast<void>(i); guarantee_progress(); }).detach(), true);
    static_cast<void>(watched);
    return *instance;
}

Stream* create_stream(Lock&, int device) {
    auto* stream = new Stream;
    stream->id = timeline().next_stream++;
    stream->device = device;
    timeline().streams.push_back(stream);
    return stream;
}

Stream& stream_of(Lock& lock, aclrtStream handle) {
    if (handle != nullptr) return *static_cast<Stream*>(handle);
    Stream*& stream = timeline().default_streams[current_device()];
    if (stream == nullptr) stream = create_stream(lock, current_device());
    return *stream;
}

std::optional<Failure> failure_of(const Stream& stream) {
    const auto lost = timeline().lost.find(stream.device);
    if (lost != timeline().lost.end()) return lost->second;
    return stream.failure;
}

void push(Lock&, Stream& stream, Task task) {
    Timeline& all = timeline();
    task.sequence = ++all.next_sequence;
    all.last_activity = std::chrono::steady_clock::now();
    stream.queue.push_back(std::move(task));
    if (!stream.started) {
        stream.started = true;
        std::thread(work, &stream).detach();
    }
    all.changed.notify_all();
}

std::deque<Task> drop_queue(Lock&, Stream& stream) {
    std::deque<Task> dropped;
    dropped.swap(stream.queue);
    stream.granted = 0;
    if (!dropped.empty() && !stream.failure) {
        stream.failure = Failure{ACL_ERROR_RT_STREAM_ABORT, "the work of " + place(stream) + " was thrown away before it ran"};
    }
    for (const Task& task : dropped) {
        if (task.finish && !task.last) task.finish(stream);  // an update of a graph does not take place
    }
    return dropped;
}

void execute(const Task& task, Stream& stream) {
    const Operation& operation = task.operation;
    current_operation = operation.name;
    if (!operation.name.empty()) {
        if (settings().trace) trace("run on " + place(stream) + ": " + operation.name + " " + std::to_string(operation.bytes) + " bytes");
        apply(fault_at_execution(operation.name, stream.device), task, stream);
        count_launch(operation.name, operation.bytes);
    }
    task.run();
}

const char* running_operation() { return current_operation.c_str(); }

bool must_stop_waiting() {
    Lock lock(timeline().mutex);
    if (timeline().closing) return true;
    return current_stream != nullptr && (current_stream->aborting || timeline().lost.count(current_stream->device) > 0);
}

int device_of(aclrtStream handle) {
    Lock lock(timeline().mutex);
    return stream_of(lock, handle).device;
}

}  // namespace cann_sim
