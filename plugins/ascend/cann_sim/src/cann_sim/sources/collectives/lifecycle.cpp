// Communicators are made from a root info, named, asked and destroyed.
#include "common/simulator.h"
#include "launching.h"

#include <unistd.h>

#include <cstring>
#include <optional>

using namespace cann_sim;
using namespace cann_sim::collectives;

namespace {

// What the 4108 opaque bytes hold; the rest is zero.
struct RootInfo {
    char magic[8];
    Segment::Address address;
};
constexpr char kMagic[8] = "hcclsim";
static_assert(sizeof(RootInfo) <= HCCL_ROOT_INFO_BYTES);

std::optional<Segment::Address> address_in(const HcclRootInfo* root_info) {
    RootInfo info;
    memcpy(&info, root_info, sizeof info);
    if (memcmp(info.magic, kMagic, sizeof kMagic) != 0) return std::nullopt;
    return info.address;
}

HcclResult join(const char* function, uint32_t ranks, const HcclRootInfo* root_info, uint32_t rank, HcclComm* comm) {
    if (!root_info || !comm) return refuse(HCCL_E_PTR, function, "root info or communicator is a null pointer");
    if (ranks == 0 || ranks > kMostRanks || rank >= ranks) {
        return refuse(HCCL_E_PARA, function,
                      "rank " + std::to_string(rank) + " of " + std::to_string(ranks) + ", where up to " +
                          std::to_string(kMostRanks) + " are simulated");
    }
    const auto address = address_in(root_info);
    if (!address) return refuse(HCCL_E_PARA, function, "the root info is not one that HcclGetRootInfo has made");
    const std::string name = "hccl_" + std::to_string(address->pid) + "_" + std::to_string(address->id);
    try {
        *comm = new Handle{std::make_shared<Communicator>(*address, ranks, rank, name)};
    } catch (const std::runtime_error& failed) {
        Segment::release(*address);
        return refuse(HCCL_E_TIMEOUT, function, failed.what());
    }
    Segment::release(*address);  // all ranks have it mapped
    return HCCL_SUCCESS;
}

}  // namespace

CANN_API HcclResult HcclGetRootInfo(HcclRootInfo* root_info) {
    if (!root_info) return refuse(HCCL_E_PTR, "HcclGetRootInfo", "root info is a null pointer");
    memset(root_info, 0, sizeof *root_info);
    RootInfo info{};
    memcpy(info.magic, kMagic, sizeof kMagic);
    try {
        info.address = Segment::create();
    } catch (const std::runtime_error& failed) {
        return refuse(HCCL_E_MEMORY, "HcclGetRootInfo", failed.what());
    }
    memcpy(root_info, &info, sizeof info);
    return HCCL_SUCCESS;
}

CANN_API HcclResult HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo* root_info, uint32_t rank, HcclComm* comm) {
    return join("HcclCommInitRootInfo", ranks, root_info, rank, comm);
}

CANN_API HcclResult HcclCommInitRootInfoConfig(uint32_t ranks, const HcclRootInfo* root_info, uint32_t rank,
                                               const HcclCommConfig* config, HcclComm* comm) {
    const HcclResult joined = join("HcclCommInitRootInfoConfig", ranks, root_info, rank, comm);
    if (joined != HCCL_SUCCESS || !config) return joined;
    if (config->hcclCommName[0]) {
        of(*comm)->rename(std::string(config->hcclCommName, strnlen(config->hcclCommName, COMM_NAME_MAX_LENGTH)));
    }
    if (config->hcclExecTimeOut > 0) of(*comm)->set_execution_timeout(std::chrono::seconds(config->hcclExecTimeOut));
    return HCCL_SUCCESS;
}

CANN_API HcclResult HcclCommDestroy(HcclComm comm) {
    if (!comm) return refuse(HCCL_E_PTR, "HcclCommDestroy", "the communicator is a null pointer");
    delete static_cast<Handle*>(comm);
    return HCCL_SUCCESS;
}

// Which fields of HcclCommConfig are looked at: torch_npu asks, and fills in those below the answer.
CANN_API uint32_t HcclGetCommConfigCapability() { return HCCL_COMM_CONFIG_RESERVED; }

CANN_API HcclResult HcclSetConfig(HcclConfig, HcclConfigValue) { return HCCL_SUCCESS; }  // always deterministic

CANN_API HcclResult HcclGetCommName(HcclComm comm, char* name) {
    if (!comm || !name) return refuse(HCCL_E_PTR, "HcclGetCommName", "a null pointer");
    strncpy(name, of(comm)->name().c_str(), COMM_NAME_MAX_LENGTH - 1);
    name[COMM_NAME_MAX_LENGTH - 1] = '\0';
    return HCCL_SUCCESS;
}

CANN_API HcclResult HcclGetRankSize(HcclComm comm, uint32_t* ranks) {
    if (!comm || !ranks) return refuse(HCCL_E_PTR, "HcclGetRankSize", "a null pointer");
    *ranks = of(comm)->ranks();
    return HCCL_SUCCESS;
}

CANN_API HcclResult HcclGetRankId(HcclComm comm, uint32_t* rank) {
    if (!comm || !rank) return refuse(HCCL_E_PTR, "HcclGetRankId", "a null pointer");
    *rank = of(comm)->rank();
    return HCCL_SUCCESS;
}

// A collective that fails stops its stream, which is how it becomes known.
CANN_API HcclResult HcclGetCommAsyncError(HcclComm, HcclResult* error) {
    *error = HCCL_SUCCESS;
    return HCCL_SUCCESS;
}

CANN_API const char* HcclGetErrorString(HcclResult code) {
    static const char* const kNames[] = {
        "success",        "wrong parameter", "null pointer", "out of memory", "internal error", "not supported",
        "not found",      "unavailable",     "system call",  "time-out",      "no such file",   "TCP connection",
        "RoCE connection", "TCP transfer",   "RoCE transfer", "runtime call",
    };
    const auto index = static_cast<size_t>(code);
    return index < std::size(kNames) ? kNames[index] : "unknown error";
}
