// Devices: which there are, which is current, and what they say about themselves.
#include "runtime/devices.h"

#include "common/simulator.h"
#include "runtime/timeline.h"

#include <unistd.h>

#include <cstring>

namespace cann_sim {
namespace {

constexpr int NONE_CHOSEN = -1;
thread_local int chosen = NONE_CHOSEN;

struct Soc {
    int64_t cube_cores;
    int64_t vector_cores;
    int64_t l2_bytes;
    bool bf16;
};

const Soc& soc() {
    static const Soc a2 = {20, 40, 192ll << 20, true};  // Ascend910B3 and its like
    static const Soc a3 = {24, 48, 192ll << 20, true};  // Ascend910_93...
    static const Soc inference = {8, 7, 16ll << 20, false};  // Ascend310P3: no bf16
    const std::string& name = settings().soc_name;
    if (name.rfind("Ascend310", 0) == 0) return inference;
    return name.rfind("Ascend910_93", 0) == 0 ? a3 : a2;
}

bool exists(int32_t device) { return device >= 0 && device < settings().devices; }

aclError no_such_device(const std::string& function, int64_t device) {
    return report(ACL_ERROR_RT_INVALID_DEVICEID, function + ": there is no device " + std::to_string(device) + " among the " +
                      std::to_string(settings().devices) + " (CANN_SIM_DEVICES)");
}

// A context stands for a device here: its handle is the address of the device's entry.
char contexts[64];

}  // namespace

int current_device() { return chosen == NONE_CHOSEN ? 0 : chosen; }
bool device_chosen() { return chosen != NONE_CHOSEN; }
void choose_device(int device) { chosen = device; }

}  // namespace cann_sim

using namespace cann_sim;

CANN_API aclError aclInit(const char*) { return ACL_SUCCESS; }
CANN_API aclError aclFinalize() { return ACL_SUCCESS; }

CANN_API aclError aclrtSetDevice(int32_t device) {
    if (!exists(device)) return no_such_device("aclrtSetDevice", device);
    choose_device(device);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtResetDevice(int32_t device) { return exists(device) ? ACL_SUCCESS : no_such_device("aclrtResetDevice", device); }

CANN_API aclError aclrtGetDevice(int32_t* device) {
    if (!device_chosen()) return ACL_ERROR_RT_CONTEXT_NULL;  // asked by torch_npu to find out; no message
    *device = current_device();
    return ACL_SUCCESS;
}

CANN_API aclError aclrtGetDeviceCount(uint32_t* count) {
    *count = static_cast<uint32_t>(settings().devices);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtGetCurrentContext(aclrtContext* context) {
    if (!device_chosen()) return ACL_ERROR_RT_CONTEXT_NULL;
    *context = &contexts[current_device()];
    return ACL_SUCCESS;
}

CANN_API aclError aclrtSetCurrentContext(aclrtContext context) {
    const auto device = static_cast<char*>(context) - contexts;
    if (device < 0 || device >= settings().devices) return no_such_device("aclrtSetCurrentContext", device);
    choose_device(static_cast<int>(device));
    return ACL_SUCCESS;
}

CANN_API aclError aclrtGetPrimaryCtxState(int32_t, uint32_t* flags, int32_t* active) {
    if (flags != nullptr) *flags = 0;
    if (active != nullptr) *active = device_chosen() ? 1 : 0;
    return ACL_SUCCESS;
}

CANN_API const char* aclrtGetSocName() { return settings().soc_name.c_str(); }

CANN_API aclError aclrtGetDeviceInfo(uint32_t device, aclrtDevAttr attribute, int64_t* value) {
    if (!exists(static_cast<int32_t>(device))) return no_such_device("aclrtGetDeviceInfo", device);
    switch (attribute) {
        case ACL_DEV_ATTR_AICORE_CORE_NUM:
        case ACL_DEV_ATTR_CUBE_CORE_NUM:
            *value = soc().cube_cores;
            return ACL_SUCCESS;
        case ACL_DEV_ATTR_VECTOR_CORE_NUM:
            *value = soc().vector_cores;
            return ACL_SUCCESS;
        case ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE:
            *value = static_cast<int64_t>(settings().hbm_bytes);
            return ACL_SUCCESS;
        case ACL_DEV_ATTR_L2_CACHE_SIZE:
            *value = soc().l2_bytes;
            return ACL_SUCCESS;
        case ACL_DEV_ATTR_PHY_CHIP_ID:
            *value = device;
            return ACL_SUCCESS;
        case ACL_DEV_ATTR_IS_VIRTUAL:
            *value = 0;
            return ACL_SUCCESS;
        default:
            return report(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "aclrtGetDeviceInfo: attribute " + std::to_string(attribute) + " is not simulated");
    }
}

CANN_API aclError aclGetDeviceCapability(uint32_t, aclDeviceInfo info, int64_t* value) {
    *value = info == ACL_DEVICE_INFO_L2_SIZE ? soc().l2_bytes : info == ACL_DEVICE_INFO_VECTOR_CORE_NUM ? soc().vector_cores : soc().cube_cores;
    return ACL_SUCCESS;
}

CANN_API aclError aclGetCannAttribute(aclCannAttr attribute, int32_t* value) {
    *value = attribute == ACL_CANN_ATTR_BF16 ? soc().bf16 : 1;
    return ACL_SUCCESS;
}

namespace {

aclError cores(aclrtDevResLimitType type, uint32_t* value) {
    *value = static_cast<uint32_t>(type == ACL_RT_DEV_RES_CUBE_CORE ? soc().cube_cores : soc().vector_cores);
    return ACL_SUCCESS;
}

}  // namespace

CANN_API aclError aclrtGetStreamResLimit(aclrtStream, aclrtDevResLimitType type, uint32_t* value) { return cores(type, value); }
CANN_API aclError aclrtGetResInCurrentThread(aclrtDevResLimitType type, uint32_t* value) { return cores(type, value); }
CANN_API aclError aclrtGetDeviceResLimit(int32_t, aclrtDevResLimitType type, uint32_t* value) { return cores(type, value); }

CANN_API aclError aclrtDeviceGetBareTgid(int32_t* process) {
    *process = getpid();
    return ACL_SUCCESS;
}

CANN_API aclError aclrtDeviceCanAccessPeer(int32_t* can, int32_t device, int32_t peer) {
    *can = exists(device) && exists(peer) && device != peer;
    return ACL_SUCCESS;
}

CANN_API aclError aclrtDeviceEnablePeerAccess(int32_t peer, uint32_t) {
    return exists(peer) ? ACL_SUCCESS : no_such_device("aclrtDeviceEnablePeerAccess", peer);
}

CANN_API aclError aclrtGetDeviceUtilizationRate(int32_t device, aclrtUtilizationInfo* use) {
    if (!exists(device)) return no_such_device("aclrtGetDeviceUtilizationRate", device);
    *use = {};
    use->memoryUtilization = 0;
    return ACL_SUCCESS;
}

CANN_API aclError aclsysGetCANNVersion(aclCANNPackageName, aclCANNPackageVersion* version) {
    *version = {};
    std::strncpy(version->version, settings().cann_version.c_str(), sizeof version->version - 1);
    return ACL_SUCCESS;
}

CANN_API aclError aclsysGetVersionStr(char*, char* version) {
    std::strcpy(version, settings().cann_version.c_str());  // the vendor's interface gives no size
    return ACL_SUCCESS;
}
