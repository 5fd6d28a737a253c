// Host callbacks: functions that a stream calls on the host when their turn has come.
//
// aclrtLaunchCallback hands the function to the thread that subscribed (aclrtSubscribeReport) and asks for work with
// aclrtProcessReport; aclrtLaunchHostFunc runs it on the stream's own thread.
#include "runtime/capture.h"

#include <pthread.h>

using namespace cann_sim;

namespace {

struct Report {
    std::function<void()> run;
    bool done = false;
};

// By the subscribed thread; under the timeline's lock.
std::map<uint64_t, std::deque<std::shared_ptr<Report>>>& reports() {
    static auto* const all = new std::map<uint64_t, std::deque<std::shared_ptr<Report>>>;
    return *all;
}

void hand_over(uint64_t thread, std::function<void()> function, bool wait) {
    const auto report = std::make_shared<Report>();
    report->run = std::move(function);
    Lock lock(timeline().mutex);
    reports()[thread].push_back(report);
    timeline().changed.notify_all();
    if (wait) timeline().changed.wait(lock, [&] { return report->done || timeline().closing; });
}

}  // namespace

CANN_API aclError aclrtSubscribeReport(uint64_t thread, aclrtStream handle) {
    Lock lock(timeline().mutex);
    stream_of(lock, handle).callback_thread = thread;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtUnSubscribeReport(uint64_t, aclrtStream handle) {
    Lock lock(timeline().mutex);
    stream_of(lock, handle).callback_thread = 0;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtProcessReport(int32_t milliseconds) {
    const auto thread = static_cast<uint64_t>(pthread_self());
    Lock lock(timeline().mutex);
    auto& mine = reports()[thread];
    const auto any = [&] { return !mine.empty() || timeline().closing; };
    const auto deadline = deadline_after(milliseconds);
    if (deadline) {
        timeline().changed.wait_until(lock, *deadline, any);
    } else {
        timeline().changed.wait(lock, any);
    }
    if (mine.empty()) return ACL_ERROR_RT_REPORT_TIMEOUT;  // the usual answer of an idle stream: no message
    const auto report = mine.front();
    mine.pop_front();
    lock.unlock();
    report->run();
    lock.lock();
    report->done = true;
    timeline().changed.notify_all();
    return ACL_SUCCESS;
}

CANN_API aclError aclrtLaunchCallback(aclrtCallback function, void* argument, aclrtCallbackBlockType block, aclrtStream handle) {
    uint64_t thread = 0;
    {
        Lock lock(timeline().mutex);
        thread = stream_of(lock, handle).callback_thread;
    }
    if (thread == 0) {
        return report(ACL_ERROR_RT_STREAM_NO_CB_REG, "aclrtLaunchCallback on a stream that no thread subscribed to (aclrtSubscribeReport)");
    }
    Operation operation{"aclrtLaunchCallback"};
    operation.may_block = true;
    return enqueue(handle, operation, [=] { hand_over(thread, [=] { function(argument); }, block == ACL_CALLBACK_BLOCK); });
}

CANN_API aclError aclrtLaunchHostFunc(aclrtStream handle, aclrtHostFunc function, void* argument) {
    Operation operation{"aclrtLaunchHostFunc"};
    operation.may_block = true;
    return enqueue(handle, operation, [=] { function(argument); });
}
