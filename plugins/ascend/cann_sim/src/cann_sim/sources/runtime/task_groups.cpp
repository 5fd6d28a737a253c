// Task groups: the part of a graph that can be given other arguments between replays.
#include "runtime/capture.h"

using namespace cann_sim;

namespace {

using GroupHandle = std::shared_ptr<Group>;

std::string names_of(const std::vector<Task>& tasks) {
    std::string names;
    for (const Task& task : tasks) names += (names.empty() ? "" : ", ") + task.operation.name;
    return names;
}

}  // namespace

CANN_API aclError aclmdlRICaptureTaskGrpBegin(aclrtStream handle) {
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (!stream.capture) return report(ACL_ERROR_RT_STREAM_NOT_CAPTURED, "aclmdlRICaptureTaskGrpBegin on a stream that is not captured");
    Capture& capture = *stream.capture;
    if (capture.open_group) return report(ACL_ERROR_STREAM_TASK_GROUP_STATUS, "aclmdlRICaptureTaskGrpBegin inside of another task group");
    capture.open_group = std::make_shared<Group>();
    capture.open_tasks.clear();
    stream.group = &capture.open_tasks;
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlRICaptureTaskGrpEnd(aclrtStream handle, aclrtTaskGrp* group) {
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (stream.group == nullptr) return report(ACL_ERROR_STREAM_TASK_GROUP_STATUS, "aclmdlRICaptureTaskGrpEnd without a begin on this stream");
    Capture& capture = *stream.capture;
    capture.open_group->tasks = std::make_shared<const std::vector<Task>>(std::move(capture.open_tasks));
    stream.group = nullptr;
    Node node;
    node.kind = Node::Kind::group;
    node.group = std::move(capture.open_group);
    capture.open_group.reset();
    *group = new GroupHandle(node.group);  // lives as long as the process, as the program may use it at any time
    record_node(stream, std::move(node));
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlRICaptureTaskUpdateBegin(aclrtStream handle, aclrtTaskGrp group) {
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (const aclError refused = refuse_on_captured_stream(lock, stream, "aclmdlRICaptureTaskUpdateBegin")) return refused;
    if (stream.update || group == nullptr) {
        return report(ACL_ERROR_STREAM_TASK_GROUP_STATUS, "aclmdlRICaptureTaskUpdateBegin inside of another update, or of no task group");
    }
    stream.update = std::make_shared<Update>();
    stream.update->group = *static_cast<GroupHandle*>(group);
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlRICaptureTaskUpdateEnd(aclrtStream handle) {
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (!stream.update) return report(ACL_ERROR_STREAM_TASK_GROUP_STATUS, "aclmdlRICaptureTaskUpdateEnd without a begin on this stream");
    const std::shared_ptr<Update> update = std::move(stream.update);
    stream.update.reset();
    const std::string before = names_of(*update->group->tasks);
    const std::string after = names_of(update->tasks);
    if (before != after) {
        return report(ACL_ERROR_RT_MODEL_UPDATE_FAILED,
                      "a task group of [" + before + "] cannot be updated with [" + after + "]: only arguments may change");
    }
    // The update takes its turn on the updating stream: a replay that does not wait for it sees the old arguments.
    // It takes the old ones along, whose end may call back into the runtime, as the lock is not held where a task ends.
    auto tasks = std::make_shared<const std::vector<Task>>(std::move(update->tasks));
    Task task;
    task.last = true;
    task.finish = [group = update->group, tasks = std::move(tasks)](Stream&) mutable { group->tasks.swap(tasks); };
    push(lock, stream, std::move(task));
    return finish_synchronously(lock, stream);
}
