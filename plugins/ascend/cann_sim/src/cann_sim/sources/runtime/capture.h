// Graph capture: what is recorded while streams are captured, and what capture forbids.
#pragma once

#include "runtime/timeline.h"

#include <thread>

namespace cann_sim {

// The updatable part of a graph. Its content is replaced as a whole, in the order of the stream that updates it; a
// replay that runs already keeps what it began with.
struct Group {
    std::shared_ptr<const std::vector<Task>> tasks;
};

struct Node {
    enum class Kind { task, group, record_edge, wait_edge };
    Kind kind = Kind::task;
    Task task;
    std::shared_ptr<Group> group;
    size_t edge = 0;  // of record_edge and wait_edge: an event recorded and waited for inside of the capture
};

// One list of nodes for every captured stream; the first is that of the stream the capture began on.
struct Graph {
    ~Graph();  // outside of the lock
    uint32_t id = 0;
    int device = 0;
    std::vector<std::vector<Node>> branches;
    std::vector<size_t> edge_branch;    // of each edge: the branch that records it
    std::vector<Stream*> branch_streams;  // where branches other than the first run; made at the first replay
};

struct Capture {
    std::shared_ptr<Graph> graph;
    aclmdlRI handle = nullptr;
    aclmdlRICaptureMode mode = ACL_MODEL_RI_CAPTURE_MODE_GLOBAL;
    Stream* origin = nullptr;
    std::thread::id thread;
    std::vector<Stream*> streams;
    std::string invalid_because;  // what was called that a capture forbids
    std::shared_ptr<Group> open_group;
    std::vector<Task> open_tasks;
};

// New content of a task group, while it is being recorded.
struct Update {
    std::shared_ptr<Group> group;
    std::vector<Task> tasks;
};

// What the vendor calls aclmdlRI.
struct GraphHandle {
    std::shared_ptr<Graph> graph;
};

// The captures in progress.
std::vector<std::shared_ptr<Capture>>& captures(Lock&);

void record_node(Stream&, Node);
// Records a task on a captured stream, into its open task group if there is one.
void record_task(Stream&, Task);
// An event recorded while capturing: the edge's number.
size_t record_edge(Stream&);
// `stream` waits for an edge of `capture`, which draws it into the capture.
aclError wait_for_edge(Lock&, Stream&, const std::shared_ptr<Capture>&, size_t edge);

// ACL_SUCCESS, or the reported refusal; a refused call makes the capture invalid.
aclError refuse_on_captured_stream(Lock&, Stream&, const std::string& function);
// For calls that the vendor counts as unsafe during capture (aclrtMemcpy, aclrtMemset, ...): depends on the modes of
// the captures and of the calling thread.
aclError refuse_unsafe(const std::string& function, aclError code = ACL_ERROR_RT_CAPTURE_MODE_NOT_SUPPORT);
aclError refuse_while_capturing(Lock&, const std::string& function);
// For work on the default stream, which would depend on every captured stream.
aclError refuse_default_stream(Lock&, const std::string& function);

void invalidate(Capture&, const std::string& function);

// Puts one run of the graph on the stream.
void replay(Lock&, const std::shared_ptr<Graph>&, Stream&);

}  // namespace cann_sim
