// Copies and fills: kinds and ranges are checked, asynchronous ones take their turn on the stream.
#include "common/simulator.h"
#include "runtime/capture.h"
#include "runtime/memory.h"

#include <cstring>

using namespace cann_sim;

namespace {

struct Copy {
    std::string function;
    void* target;
    const void* source;
    size_t bytes;
    bool from_device;
    bool to_device;
};

std::string address(const void* value) {
    char text[32];
    std::snprintf(text, sizeof text, "%p", value);
    return text;
}

// "" or what is wrong with one end of a copy.
std::string explain_bad_end(const void* start, size_t bytes, bool on_device, const char* role) {
    if (on_device) {
        const std::string problem = explain_bad_range(start, bytes);
        return problem.empty() ? "" : std::string(role) + " " + problem;
    }
    const bool is_device = range_of(reinterpret_cast<uintptr_t>(start)) != AddressRange::outside;
    return is_device ? std::string(role) + " " + address(start) + " is device memory, but the kind of the copy says host" : "";
}

aclError check_kind(Copy& copy, aclrtMemcpyKind kind) {
    switch (kind) {
        case ACL_MEMCPY_HOST_TO_HOST:
            return ACL_SUCCESS;
        case ACL_MEMCPY_HOST_TO_DEVICE:
        case ACL_MEMCPY_HOST_TO_BUF_TO_DEVICE:
            copy.to_device = true;
            return ACL_SUCCESS;
        case ACL_MEMCPY_DEVICE_TO_HOST:
            copy.from_device = true;
            return ACL_SUCCESS;
        case ACL_MEMCPY_DEVICE_TO_DEVICE:
        case ACL_MEMCPY_INNER_DEVICE_TO_DEVICE:
        case ACL_MEMCPY_INTER_DEVICE_TO_DEVICE:
            copy.from_device = copy.to_device = true;
            return ACL_SUCCESS;
        case ACL_MEMCPY_DEFAULT:
            copy.from_device = is_device_memory(copy.source);
            copy.to_device = is_device_memory(copy.target);
            return ACL_SUCCESS;
    }
    return report(ACL_ERROR_RT_PARAM_INVALID, copy.function + ": there is no kind of copy with number " + std::to_string(kind));
}

aclError check(Copy& copy, size_t room, aclrtMemcpyKind kind) {
    if (copy.bytes > room) {
        return report(ACL_ERROR_RT_PARAM_INVALID, copy.function + " of " + std::to_string(copy.bytes) +
                          " bytes to a target of " + std::to_string(room));
    }
    if (const aclError wrong = check_kind(copy, kind)) return wrong;
    std::string problem = explain_bad_end(copy.source, copy.bytes, copy.from_device, "the source");
    if (problem.empty()) problem = explain_bad_end(copy.target, copy.bytes, copy.to_device, "the target");
    return problem.empty() ? ACL_SUCCESS : report(ACL_ERROR_RT_PARAM_INVALID, copy.function + ": " + problem);
}

void run(const Copy& copy) { std::memmove(host_alias(copy.target), host_alias(copy.source), copy.bytes); }

bool uses_pageable_memory(const Copy& copy) {
    return (!copy.from_device && !is_pinned(copy.source, copy.bytes)) || (!copy.to_device && !is_pinned(copy.target, copy.bytes));
}

aclError copy_async(const Copy& copy, aclrtStream stream) {
    // The vendor's words (aclrtMemcpyAsync, CANN 8.5): with host memory that is not page-locked the call returns only
    // after the copy.
    const bool blocks = uses_pageable_memory(copy);
    if (blocks) {
        if (const aclError refused = refuse_unsafe(copy.function + " with pageable host memory", ACL_ERROR_RT_CAPTURE_MODE_BLOCK_ASYNC)) {
            return refused;
        }
    }
    const bool recorded = is_capturing(stream);
    const aclError code = enqueue(stream, {copy.function, copy.bytes}, [copy] { run(copy); });
    if (code != ACL_SUCCESS || !blocks || recorded) return code;
    return synchronize_stream(copy.function, stream, std::nullopt);
}

aclError check_fill(const std::string& function, void* target, size_t room, size_t bytes) {
    if (bytes > room) return report(ACL_ERROR_RT_PARAM_INVALID, function + " of more bytes than the target has");
    if (range_of(reinterpret_cast<uintptr_t>(target)) == AddressRange::outside) return ACL_SUCCESS;  // host memory may be filled, too
    const std::string problem = explain_bad_range(target, bytes);
    return problem.empty() ? ACL_SUCCESS : report(ACL_ERROR_RT_PARAM_INVALID, function + ": the target " + problem);
}

}  // namespace

CANN_API aclError aclrtMemcpy(void* target, size_t room, const void* source, size_t bytes, aclrtMemcpyKind kind) {
    if (const aclError refused = before_operation("aclrtMemcpy", bytes)) return refused;
    if (const aclError refused = refuse_unsafe("aclrtMemcpy")) return refused;
    Copy copy{"aclrtMemcpy", target, source, bytes, false, false};
    if (const aclError wrong = check(copy, room, kind)) return wrong;
    if (bytes > 0) run(copy);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtMemcpyAsync(void* target, size_t room, const void* source, size_t bytes, aclrtMemcpyKind kind, aclrtStream stream) {
    Copy copy{"aclrtMemcpyAsync", target, source, bytes, false, false};
    if (kind == ACL_MEMCPY_HOST_TO_HOST) {
        return report(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "aclrtMemcpyAsync does not copy from host to host");
    }
    if (const aclError wrong = check(copy, room, kind)) return wrong;
    return bytes > 0 ? copy_async(copy, stream) : ACL_SUCCESS;
}

CANN_API aclError aclrtMemcpyAsyncWithCondition(void* target, size_t room, const void* source, size_t bytes, aclrtMemcpyKind kind,
                                                aclrtStream stream) {
    return aclrtMemcpyAsync(target, room, source, bytes, kind, stream);
}

CANN_API aclError aclrtMemset(void* target, size_t room, int32_t value, size_t bytes) {
    if (const aclError refused = before_operation("aclrtMemset", bytes)) return refused;
    if (const aclError refused = refuse_unsafe("aclrtMemset")) return refused;
    if (const aclError wrong = check_fill("aclrtMemset", target, room, bytes)) return wrong;
    std::memset(host_alias(target), value, bytes);
    return ACL_SUCCESS;
}

CANN_API aclError aclrtMemsetAsync(void* target, size_t room, int32_t value, size_t bytes, aclrtStream stream) {
    if (const aclError wrong = check_fill("aclrtMemsetAsync", target, room, bytes)) return wrong;
    return enqueue(stream, {"aclrtMemsetAsync", bytes}, [=] { std::memset(host_alias(target), value, bytes); });
}
