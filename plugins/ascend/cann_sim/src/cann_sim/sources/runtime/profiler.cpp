// The profiler's hooks: torch_npu reports to them all the time; nobody listens.
#include "common/simulator.h"

#include <chrono>

CANN_API uint64_t MsprofGetHashId(const char*, size_t) { return 0; }
CANN_API int MsprofRegisterCallback(uint32_t, void*) { return 0; }
CANN_API int MsprofReportAdditionalInfo(uint32_t, const void*, uint32_t) { return 0; }
CANN_API int MsprofReportApi(uint32_t, const void*) { return 0; }
CANN_API int MsprofReportCompactInfo(uint32_t, const void*, uint32_t) { return 0; }

CANN_API uint64_t MsprofSysCycleTime() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}
