// aclmdlRI*: beginning and ending a capture, running and destroying graphs.
#include "runtime/capture.h"
#include "runtime/counters.h"

#include <algorithm>
#include <set>

using namespace cann_sim;

namespace {

GraphHandle* of(aclmdlRI handle) { return static_cast<GraphHandle*>(handle); }

// Walks back from the end of the first branch. A branch whose end is not reached was never waited for.
bool all_branches_joined(const Graph& graph) {
    std::vector<size_t> reached(graph.branches.size(), 0);  // how many nodes, from the front
    std::vector<std::pair<size_t, size_t>> open = {{0, graph.branches[0].size()}};
    while (!open.empty()) {
        const auto [branch, end] = open.back();
        open.pop_back();
        for (size_t index = reached[branch]; index < end; ++index) {
            const Node& node = graph.branches[branch][index];
            if (node.kind != Node::Kind::wait_edge) continue;
            const size_t from = graph.edge_branch[node.edge];
            const auto& nodes = graph.branches[from];
            const auto record = std::find_if(nodes.begin(), nodes.end(), [&](const Node& other) {
                return other.kind == Node::Kind::record_edge && other.edge == node.edge;
            });
            open.emplace_back(from, static_cast<size_t>(record - nodes.begin()) + 1);
        }
        reached[branch] = std::max(reached[branch], end);
    }
    for (size_t branch = 0; branch < graph.branches.size(); ++branch) {
        if (reached[branch] < graph.branches[branch].size()) return false;
    }
    return true;
}

void release_streams(Lock& lock, const std::shared_ptr<Capture>& capture) {
    for (Stream* stream : capture->streams) {
        stream->capture.reset();
        stream->group = nullptr;
        stream->branch = 0;
    }
    auto& all = captures(lock);
    all.erase(std::find(all.begin(), all.end(), capture));
}

aclError why_not_to_end(const Stream& stream) {
    if (!stream.capture) return report(ACL_ERROR_RT_STREAM_NOT_CAPTURED, "aclmdlRICaptureEnd on a stream that is not captured");
    const Capture& capture = *stream.capture;
    if (capture.origin != &stream) {
        return report(ACL_ERROR_RT_STREAM_CAPTURE_UNMATCHED, "aclmdlRICaptureEnd on another stream than aclmdlRICaptureBegin");
    }
    if (capture.mode != ACL_MODEL_RI_CAPTURE_MODE_RELAXED && capture.thread != std::this_thread::get_id()) {
        return report(ACL_ERROR_RT_STREAM_CAPTURE_WRONG_THREAD, "aclmdlRICaptureEnd in another thread than aclmdlRICaptureBegin");
    }
    return ACL_SUCCESS;
}

// ACL_SUCCESS, or why the captured graph cannot be used.
aclError judge(const Capture& capture) {
    if (!capture.invalid_because.empty()) {
        return report(ACL_ERROR_RT_STREAM_CAPTURE_INVALIDATED, "the capture was made invalid by " + capture.invalid_because);
    }
    if (capture.open_group) return report(ACL_ERROR_STREAM_TASK_GROUP_STATUS, "the capture ends inside of a task group");
    if (!all_branches_joined(*capture.graph)) {
        return report(ACL_ERROR_RT_STREAM_UNJOINED, "a stream that joined the capture was not waited for before its end");
    }
    return ACL_SUCCESS;
}

}  // namespace

CANN_API aclError aclmdlRICaptureBegin(aclrtStream handle, aclmdlRICaptureMode mode) {
    static uint32_t next_id = 1;
    Lock lock(timeline().mutex);
    if (handle == nullptr) return report(ACL_ERROR_RT_STREAM_CAPTURE_IMPLICIT, "the default stream cannot be captured");
    Stream& stream = stream_of(lock, handle);
    if (stream.capture) return report(ACL_ERROR_RT_STREAM_CAPTURED, "aclmdlRICaptureBegin on a stream that is captured already");
    auto capture = std::make_shared<Capture>();
    capture->graph = std::make_shared<Graph>();
    capture->graph->id = next_id++;
    capture->graph->device = stream.device;
    capture->graph->branches.resize(1);
    capture->handle = new GraphHandle{capture->graph};
    capture->mode = mode;
    capture->origin = &stream;
    capture->thread = std::this_thread::get_id();
    capture->streams = {&stream};
    stream.capture = capture;
    stream.branch = 0;
    captures(lock).push_back(capture);
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlRICaptureEnd(aclrtStream handle, aclmdlRI* model) {
    std::shared_ptr<Capture> capture;  // ends after the lock, and with it what a useless graph owns
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    *model = nullptr;
    if (const aclError wrong = why_not_to_end(stream)) return wrong;
    capture = stream.capture;
    release_streams(lock, capture);
    const aclError code = judge(*capture);
    if (code == ACL_SUCCESS) {
        *model = capture->handle;
    } else {
        delete of(capture->handle);
    }
    return code;
}

CANN_API aclError aclmdlRICaptureGetInfo(aclrtStream handle, aclmdlRICaptureStatus* status, aclmdlRI* model) {
    Lock lock(timeline().mutex);
    const Stream& stream = stream_of(lock, handle);
    *status = ACL_MODEL_RI_CAPTURE_STATUS_NONE;
    if (model != nullptr) *model = stream.capture ? stream.capture->handle : nullptr;
    if (stream.capture) {
        const bool valid = stream.capture->invalid_because.empty();
        *status = valid ? ACL_MODEL_RI_CAPTURE_STATUS_ACTIVE : ACL_MODEL_RI_CAPTURE_STATUS_INVALIDATED;
    }
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlRIGetId(aclmdlRI model, uint32_t* id) {
    *id = of(model)->graph->id;
    return ACL_SUCCESS;
}

CANN_API aclError aclmdlRIExecuteAsync(aclmdlRI model, aclrtStream handle) {
    if (const aclError refused = before_operation("aclmdlRIExecuteAsync")) return refused;
    Lock lock(timeline().mutex);
    Stream& stream = stream_of(lock, handle);
    if (const aclError refused = refuse_on_captured_stream(lock, stream, "aclmdlRIExecuteAsync")) return refused;
    count_graph_launch();
    replay(lock, of(model)->graph, stream);
    return finish_synchronously(lock, stream);
}

CANN_API aclError aclmdlRIDestroy(aclmdlRI model) {
    delete of(model);  // a replay that is under way has its own copy of the tasks
    return ACL_SUCCESS;
}

namespace {

aclError print(const Graph& graph) {
    Lock lock(timeline().mutex);
    for (size_t branch = 0; branch < graph.branches.size(); ++branch) {
        std::fprintf(stderr, "[cann_sim] graph %u, branch %zu: %zu nodes\n", graph.id, branch, graph.branches[branch].size());
    }
    return ACL_SUCCESS;
}

}  // namespace

CANN_API aclError aclmdlRIDebugPrint(aclmdlRI model) { return print(*of(model)->graph); }
CANN_API aclError aclmdlRIDebugJsonPrint(aclmdlRI model, const char*, uint32_t) { return print(*of(model)->graph); }
