// Settings: the one place that reads the CANN_SIM_* environment. A value that cannot be understood ends the process with
// a sentence: a simulator that silently runs with other settings than asked for proves nothing.
#include "common/faults.h"
#include "common/simulator.h"
#include "runtime/json.h"

#include <cstdio>
#include <cstdlib>
#include <map>

namespace cann_sim {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& value, const std::string& expected) {
    std::fprintf(stderr, "cann_sim: %s=%s cannot be understood; expected %s\n", name.c_str(), value.c_str(), expected.c_str());
    std::_Exit(78);  // EX_CONFIG
}

std::string text(const char* name, const std::string& fallback) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : fallback;
}

uint64_t number(const std::string& name, const std::string& value, const std::string& expected) {
    char* end = nullptr;
    const uint64_t result = std::strtoull(value.c_str(), &end, 10);
    if (value.empty() || value[0] < '0' || value[0] > '9' || *end != '\0') refuse(name, value, expected);
    return result;
}

uint64_t byte_count(const std::string& name, std::string value) {
    static const std::map<std::string, uint64_t> units = {{"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}};
    const std::string expected = "bytes, as a whole number or with KiB, MiB, GiB behind it";
    const std::string suffix = value.size() > 3 ? value.substr(value.size() - 3) : "";
    const auto unit = units.find(suffix);
    if (unit == units.end()) return number(name, value, expected);
    return number(name, value.substr(0, value.size() - 3), expected) * unit->second;
}

bool flag(const char* name, bool fallback) {
    const std::string value = text(name, fallback ? "1" : "0");
    if (value != "0" && value != "1") refuse(name, value, "0 or 1");
    return value == "1";
}

std::string soc_name() {
    const std::string value = text("CANN_SIM_SOC", "Ascend910B3");
    const std::string name = value.rfind("Ascend", 0) == 0 ? value : "Ascend" + value;
    const bool known = name.rfind("Ascend910", 0) == 0 || name.rfind("Ascend310", 0) == 0 || name.rfind("Ascend950", 0) == 0;
    if (!known) refuse("CANN_SIM_SOC", value, "a name as npu-smi has it: Ascend910B3, Ascend910_9391, Ascend310P3");
    return name;
}

void read_streams(Settings& settings) {
    const std::string value = text("CANN_SIM_STREAMS", "async");
    const std::string expected = "sync, async, adversarial or adversarial:SEED";
    settings.seed = 0;
    if (value == "sync") {
        settings.streams = StreamMode::synchronous;
    } else if (value == "async") {
        settings.streams = StreamMode::asynchronous;
    } else if (value.rfind("adversarial", 0) == 0) {
        settings.streams = StreamMode::adversarial;
        const std::string rest = value.substr(std::string("adversarial").size());
        const bool digits = rest.size() > 1 && rest.find_first_not_of("0123456789", 1) == std::string::npos;
        if (!rest.empty() && (rest[0] != ':' || !digits)) refuse("CANN_SIM_STREAMS", value, expected);
        if (!rest.empty()) settings.seed = number("CANN_SIM_STREAMS", rest.substr(1), expected);
    } else {
        refuse("CANN_SIM_STREAMS", value, expected);
    }
}

Settings read() {
    Settings settings{};
    settings.devices = static_cast<int>(number("CANN_SIM_DEVICES", text("CANN_SIM_DEVICES", "1"), "1 to 64"));
    if (settings.devices < 1 || settings.devices > 64) refuse("CANN_SIM_DEVICES", text("CANN_SIM_DEVICES", ""), "1 to 64");
    settings.hbm_bytes = byte_count("CANN_SIM_HBM_BYTES", text("CANN_SIM_HBM_BYTES", "8GiB"));
    settings.soc_name = soc_name();
    settings.cann_version = text("CANN_SIM_CANN_VERSION", "8.5.0");
    read_streams(settings);
    settings.strict = flag("CANN_SIM_STRICT", true);
    settings.trace = flag("CANN_SIM_TRACE", false);
    settings.faults = text("CANN_SIM_FAULTS", "");
    settings.counters_file = text("CANN_SIM_COUNTERS", "");
    const std::string wrong = check_faults(settings.faults);
    if (!wrong.empty()) refuse("CANN_SIM_FAULTS", settings.faults, "rules (" + wrong + ")");
    return settings;
}

}  // namespace

const Settings& settings() {
    static const Settings* const read_once = new Settings(read());  // never destroyed: threads outlive main()
    return *read_once;
}

void trace(const std::string& line) {
    if (settings().trace) std::fprintf(stderr, "[cann_sim] %s\n", line.c_str());
}

}  // namespace cann_sim

CANN_API const char* cann_sim_settings() {
    static const char* const names[] = {"sync", "async", "adversarial"};
    const auto& s = cann_sim::settings();
    thread_local std::string answer;
    cann_sim::JsonObject json;
    json.add("devices", s.devices).add("hbm_bytes", s.hbm_bytes).add("soc_name", s.soc_name);
    json.add("cann_version", s.cann_version).add("streams", std::string(names[static_cast<int>(s.streams)]));
    json.add("seed", s.seed).add("strict", s.strict).add("trace", s.trace).add("faults", s.faults);
    answer = json.add("counters_file", s.counters_file).text();
    return answer.c_str();
}
