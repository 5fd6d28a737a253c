// Graph capture: recording nodes and edges, and refusing what a capture forbids.
//
// Which calls are refused, and with which codes, follows the vendor's documentation of aclmdlRICaptureBegin and
// aclmdlRICaptureThreadExchangeMode (CANN 8.5) and the names of rt_error_codes.h.
#include "runtime/capture.h"

#include <algorithm>

namespace cann_sim {
namespace {

thread_local aclmdlRICaptureMode thread_mode = ACL_MODEL_RI_CAPTURE_MODE_GLOBAL;

std::string capturing(const Capture& capture) {
    return "while stream " + std::to_string(capture.origin->id) + " of device " + std::to_string(capture.origin->device) +
           " is captured into graph " + std::to_string(capture.graph->id);
}

bool forbids_unsafe_calls(const Capture& capture) {
    const bool relaxed = capture.mode == ACL_MODEL_RI_CAPTURE_MODE_RELAXED || thread_mode == ACL_MODEL_RI_CAPTURE_MODE_RELAXED;
    if (relaxed) return false;
    if (capture.thread == std::this_thread::get_id()) return true;
    return capture.mode == ACL_MODEL_RI_CAPTURE_MODE_GLOBAL && thread_mode == ACL_MODEL_RI_CAPTURE_MODE_GLOBAL;
}

aclError refuse(Capture& capture, aclError code, const std::string& function) {
    invalidate(capture, function);
    return report(code, function + " is forbidden " + capturing(capture) + "; the capture is invalid now");
}

}  // namespace

std::vector<std::shared_ptr<Capture>>& captures(Lock&) {
    static auto* const all = new std::vector<std::shared_ptr<Capture>>;
    return *all;
}

void invalidate(Capture& capture, const std::string& function) {
    if (capture.invalid_because.empty()) capture.invalid_because = function;
}

void record_node(Stream& stream, Node node) { stream.capture->graph->branches[stream.branch].push_back(std::move(node)); }

void record_task(Stream& stream, Task task) {
    if (stream.group != nullptr) {
        stream.group->push_back(std::move(task));
        return;
    }
    Node node;
    node.task = std::move(task);
    record_node(stream, std::move(node));
}

size_t record_edge(Stream& stream) {
    Node node;
    node.kind = Node::Kind::record_edge;
    node.edge = stream.capture->graph->edge_branch.size();
    stream.capture->graph->edge_branch.push_back(stream.branch);
    const size_t edge = node.edge;
    record_node(stream, std::move(node));
    return edge;
}

aclError wait_for_edge(Lock&, Stream& stream, const std::shared_ptr<Capture>& capture, size_t edge) {
    if (stream.capture && stream.capture != capture) {
        invalidate(*capture, "aclrtStreamWaitEvent");
        return refuse(*stream.capture, ACL_ERROR_STREAM_CAPTURE_CONFLICT, "aclrtStreamWaitEvent for an event of another capture");
    }
    if (!stream.capture) {
        stream.capture = capture;
        stream.branch = capture->graph->branches.size();
        capture->graph->branches.emplace_back();
        capture->streams.push_back(&stream);
    }
    Node node;
    node.kind = Node::Kind::wait_edge;
    node.edge = edge;
    record_node(stream, std::move(node));
    return ACL_SUCCESS;
}

aclError refuse_on_captured_stream(Lock&, Stream& stream, const std::string& function) {
    return stream.capture ? refuse(*stream.capture, ACL_ERROR_RT_STREAM_CAPTURED, function) : ACL_SUCCESS;
}

aclError refuse_while_capturing(Lock& lock, const std::string& function) {
    for (const auto& capture : captures(lock)) {
        if (forbids_unsafe_calls(*capture)) return refuse(*capture, ACL_ERROR_RT_STREAM_CAPTURED, function);
    }
    return ACL_SUCCESS;
}

aclError refuse_unsafe(const std::string& function, aclError code) {
    Lock lock(timeline().mutex);
    for (const auto& capture : captures(lock)) {
        if (forbids_unsafe_calls(*capture)) return refuse(*capture, code, function);
    }
    return ACL_SUCCESS;
}

aclError refuse_default_stream(Lock& lock, const std::string& function) {
    for (const auto& capture : captures(lock)) {
        if (forbids_unsafe_calls(*capture)) {
            return refuse(*capture, ACL_ERROR_RT_STREAM_CAPTURE_IMPLICIT, function + " on the default stream");
        }
    }
    return ACL_SUCCESS;
}

}  // namespace cann_sim

using namespace cann_sim;

CANN_API aclError aclmdlRICaptureThreadExchangeMode(aclmdlRICaptureMode* mode) {
    std::swap(*mode, thread_mode);
    return ACL_SUCCESS;
}
