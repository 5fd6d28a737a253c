// The current device of the calling thread.
#pragma once

namespace cann_sim {

// The device that this thread chose; 0 if it chose none.
int current_device();
bool device_chosen();
void choose_device(int device);

}  // namespace cann_sim
