// Running a graph: its branches become tasks again, the first one on the stream of the launch, each other one on a stream
// of its own, so that a wait that the capture forgot is missing in every replay, too.
#include "runtime/capture.h"

namespace cann_sim {
namespace {

struct Edge {
    bool done = false;
    std::optional<Failure> failure;
};

using Edges = std::shared_ptr<std::vector<Edge>>;

void take_over(Stream& stream, const std::optional<Failure>& failure) {
    if (failure && !stream.failure) stream.failure = failure;
}

Task run_group(const std::shared_ptr<Group>& group, Stream& stream) {
    Task task;
    for (const Task& member : *group->tasks) task.operation.may_block |= member.operation.may_block;
    task.run = [group, &stream] {
        std::shared_ptr<const std::vector<Task>> tasks;
        {
            Lock lock(timeline().mutex);
            tasks = group->tasks;
        }
        for (const Task& member : *tasks) execute(member, stream);
    };
    return task;
}

Task task_of(const Node& node, const Edges& edges, Stream& stream) {
    const size_t edge = node.edge;
    Task task;
    switch (node.kind) {
        case Node::Kind::task:
            return node.task;
        case Node::Kind::group:
            return run_group(node.group, stream);
        case Node::Kind::record_edge:
            task.finish = [edges, edge](Stream& here) { (*edges)[edge] = {true, failure_of(here)}; };
            return task;
        case Node::Kind::wait_edge:
            task.ready = [edges, edge] { return (*edges)[edge].done; };
            task.finish = [edges, edge](Stream& here) { take_over(here, (*edges)[edge].failure); };
            return task;
    }
    return task;
}

Stream& branch_stream(Lock& lock, Graph& graph, size_t branch, Stream& launch) {
    if (branch == 0) return launch;
    while (graph.branch_streams.size() < branch) graph.branch_streams.push_back(create_stream(lock, graph.device));
    return *graph.branch_streams[branch - 1];
}

}  // namespace

// Their threads end when the replays that are under way have.
Graph::~Graph() {
    if (branch_streams.empty()) return;
    Lock lock(timeline().mutex);
    for (Stream* stream : branch_streams) stream->retired = true;
    timeline().changed.notify_all();
}

void replay(Lock& lock, const std::shared_ptr<Graph>& graph, Stream& launch) {
    const auto edges = std::make_shared<std::vector<Edge>>(graph->edge_branch.size());
    for (size_t branch = 0; branch < graph->branches.size(); ++branch) {
        Stream& stream = branch_stream(lock, *graph, branch, launch);
        for (const Node& node : graph->branches[branch]) push(lock, stream, task_of(node, edges, stream));
    }
}

}  // namespace cann_sim
