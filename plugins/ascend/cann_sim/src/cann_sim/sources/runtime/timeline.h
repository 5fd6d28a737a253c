// The timeline: streams as threads, the work queued on them, and waiting for it.
//
// Everything here is guarded by one lock, timeline().mutex, and every change is announced on timeline().changed: a
// simulator can afford that, and nobody has to think about the order of locks. Work itself runs outside the lock.
#pragma once

#include "common/simulator.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace cann_sim {

struct Stream;
struct Capture;
struct Update;

struct Failure {
    aclError code = ACL_SUCCESS;
    std::string message;
};

struct Task {
    Operation operation;                  // without a name: bookkeeping, neither counted nor subject to faults
    std::function<void()> run;            // outside the lock; skipped once the stream has failed
    std::function<bool()> ready;          // under the lock; without it the task is ready
    std::function<void(Stream&)> finish;  // under the lock, after run, also on a failed stream: whoever waits must wake
    bool last = false;                    // adversarial: when nothing else can run (updates of a graph under way)
    uint64_t sequence = 0;                // the order in which the host asked, over all streams
};

struct Stream {
    int id = 0;
    int device = 0;
    bool started = false;    // has a thread
    bool busy = false;       // its thread is inside a task
    bool retired = false;    // destroyed: the thread ends when the queue is empty
    bool stops_on_failure = true;
    int granted = 0;         // adversarial: tasks that the thread may take
    bool aborting = false;   // blocked work must give up
    bool hanging = false;    // by a fault: nobody may wait for it without a deadline of his own
    std::deque<Task> queue;
    std::optional<Failure> failure;
    std::shared_ptr<Capture> capture;  // while it records a graph (capture.h)
    size_t branch = 0;                 // which branch of that graph it records
    std::shared_ptr<Update> update;    // while it records new content of a task group
    std::vector<Task>* group = nullptr;  // while it records a task group of that graph
    uint64_t callback_thread = 0;      // who runs its callbacks (aclrtSubscribeReport)

    bool idle() const { return queue.empty() && !busy; }
};

struct Timeline {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Stream*> streams;            // never shrinks: handles stay comparable
    std::map<int, Stream*> default_streams;  // by device
    std::map<int, Failure> lost;             // by device
    uint64_t next_sequence = 0;
    int next_stream = 1;
    bool closing = false;                    // the process ends
    std::mt19937_64 choice;                  // adversarial
    std::chrono::steady_clock::time_point last_activity;
};

using Lock = std::unique_lock<std::mutex>;

Timeline& timeline();

// The stream behind a handle; the current device's default stream for null.
Stream& stream_of(Lock&, aclrtStream handle);
Stream* create_stream(Lock&, int device);

// Puts a task at the end of a stream. In synchronous mode the caller follows up with finish_synchronously().
void push(Lock&, Stream&, Task);
// Synchronous mode: waits until the stream has run dry or waits for something that is yet to come, and returns its
// failure. The other modes return at once.
aclError finish_synchronously(Lock&, Stream&);

// Takes everything that is queued off a stream, as failed: whoever waits for an event among it wakes. What the tasks own
// may be tensors, whose end calls back into the runtime: the caller lets go of them outside the lock.
std::deque<Task> drop_queue(Lock&, Stream&);

// What keeps this stream from going on: its own failure, or its lost device's.
std::optional<Failure> failure_of(const Stream&);

// Runs one operation: faults, counters, trace, the work. Outside the lock; throws OperationFailed.
void execute(const Task&, Stream&);

// The operation that the calling thread is in, "" outside of work. For the guard, so a plain pointer.
const char* running_operation();

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

// Waits until `done`, false if the deadline came first. Adversarial: drives the streams meanwhile; `wanted` says whose
// work the host asked for.
bool wait_until(Lock&, const std::function<bool()>& done, const std::function<bool(const Stream&)>& wanted, Deadline);

// Adversarial: a look at the state of things (a query) lets a few tasks through, so that polling comes to an end.
void let_some_through(Lock&, const std::function<bool(const Stream&)>& wanted);

// The caller waits for the stream, device or event; returns what to give back to the program.
aclError synchronize_stream(const std::string& function, aclrtStream, Deadline);
aclError synchronize_device(const std::string& function, int device, Deadline);

// A timeout in milliseconds as the vendor writes it (negative: none).
Deadline deadline_after(int32_t milliseconds);

// ---- the adversary (adversary.cpp) -----------------------------------------------------------------------------------

// The stream whose next task should run now, so that the order is as unhelpful as it may be; null if none can.
Stream* unhelpful_choice(Lock&, const std::function<bool(const Stream&)>& wanted);
// Lets the stream's thread run one task, and waits for it unless it may block.
void grant(Lock&, Stream&);

}  // namespace cann_sim
