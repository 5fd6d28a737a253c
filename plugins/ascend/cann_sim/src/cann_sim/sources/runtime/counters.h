// Counters: what the host asked for, and what ran on the streams.
#pragma once

#include <cstdint>
#include <string>

namespace cann_sim {

void count_call(const std::string& operation);
void count_launch(const std::string& operation, uint64_t bytes);
void count_graph_launch();

// Writes the counters to the file that the settings name, if they name one.
void write_counters_file();

}  // namespace cann_sim
