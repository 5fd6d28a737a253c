// Fault injection: parsing the rules of faults.h, and counting their matches.
#include "common/faults.h"

#include "common/simulator.h"

#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <regex>
#include <vector>

namespace cann_sim {
namespace {

struct Rule {
    std::string text;
    std::string pattern;
    std::optional<int> device;
    uint64_t first = 1;
    uint64_t last = std::numeric_limits<uint64_t>::max();
    FaultAction action = FaultAction::none;
    std::chrono::microseconds delay{0};
    uint64_t matches = 0;
};

const std::map<std::string, FaultAction>& actions() {
    static const std::map<std::string, FaultAction> known = {
        {"fail", FaultAction::fail}, {"refuse", FaultAction::refuse}, {"oom", FaultAction::oom},   {"lost", FaultAction::lost},
        {"slow", FaultAction::slow}, {"hang", FaultAction::hang},     {"timeout", FaultAction::timeout}};
    return known;
}

// `*` stands for any run of characters; everything else for itself.
bool matches(const char* pattern, const char* name) {
    if (*pattern == '\0') return *name == '\0';
    if (*pattern == '*') return matches(pattern + 1, name) || (*name != '\0' && matches(pattern, name + 1));
    return *pattern == *name && matches(pattern + 1, name + 1);
}

bool befalls_the_call(FaultAction action) { return action == FaultAction::refuse || action == FaultAction::oom; }

std::string parse_when(const std::smatch& match, Rule& rule) {
    if (!match[3].matched) return "";
    rule.first = std::stoull(match[3]);
    if (!match[4].matched) rule.last = rule.first;
    if (match[5].matched) rule.last = std::stoull(match[5]);
    if (rule.first == 0 || rule.last < rule.first) return "matches are counted from 1, and a range goes upwards";
    return "";
}

std::string parse_action(const std::string& name, const std::smatch& match, Rule& rule) {
    const auto known = actions().find(name);
    if (known == actions().end()) {
        return "there is no action '" + name + "'; use fail, refuse, oom, lost, slow:TIME, hang or timeout";
    }
    rule.action = known->second;
    const bool has_delay = match[7].matched;
    if (has_delay != (rule.action == FaultAction::slow)) return "a time belongs to slow and only there, as in slow:5ms";
    if (!has_delay) return "";
    static const std::map<std::string, int64_t> units = {{"us", 1}, {"ms", 1000}, {"s", 1000000}};
    rule.delay = std::chrono::microseconds(std::stoll(match[7]) * units.at(match[8]));
    return "";
}

// "" or what is wrong.
std::string parse_rule(const std::string& text, Rule& rule) {
    static const std::regex shape(
        R"(\s*([A-Za-z0-9_*:]+)(?:@(\d{1,3}))?(?:#(\d{1,9})(\+|-(\d{1,9}))?)?\s*=\s*([a-z]+)(?::(\d{1,9})(us|ms|s))?\s*)");
    std::smatch match;
    if (!std::regex_match(text, match, shape)) {
        return "'" + text + "' is no rule; write PATTERN[@DEVICE][#WHEN]=ACTION, for example aclnnMatmul#3=fail";
    }
    rule.text = text;
    rule.pattern = match[1];
    if (match[2].matched) rule.device = std::stoi(match[2]);
    std::string wrong = parse_when(match, rule);
    if (wrong.empty()) wrong = parse_action(match[6], match, rule);
    return wrong.empty() ? "" : "in '" + text + "': " + wrong;
}

std::string parse(const std::string& text, std::vector<Rule>& rules) {
    size_t start = 0;
    while (start <= text.size()) {
        const size_t end = std::min(text.find(';', start), text.size());
        const std::string part = text.substr(start, end - start);
        start = end + 1;
        if (part.find_first_not_of(" \t\n") == std::string::npos) continue;
        Rule rule;
        const std::string wrong = parse_rule(part, rule);
        if (!wrong.empty()) return wrong;
        rules.push_back(rule);
    }
    return "";
}

struct Active {
    std::mutex mutex;
    std::vector<Rule> rules;
};

Active& active() {
    static Active* const instance = [] {
        auto* fresh = new Active;
        parse(settings().faults, fresh->rules);  // checked when the settings were read
        return fresh;
    }();
    return *instance;
}

Fault find(const std::string& operation, int device, bool at_call) {
    std::lock_guard<std::mutex> lock(active().mutex);
    Fault found;
    for (Rule& rule : active().rules) {
        if (befalls_the_call(rule.action) != at_call || (rule.device && *rule.device != device)) continue;
        if (!matches(rule.pattern.c_str(), operation.c_str())) continue;
        ++rule.matches;  // every rule counts on its own, also when another one has struck
        const bool strikes = rule.matches >= rule.first && rule.matches <= rule.last;
        if (strikes && found.action == FaultAction::none) found = {rule.action, rule.delay, rule.text};
    }
    return found;
}

}  // namespace

Fault fault_at_call(const std::string& operation, int device) { return find(operation, device, true); }
Fault fault_at_execution(const std::string& operation, int device) { return find(operation, device, false); }

std::string check_faults(const std::string& rules) {
    std::vector<Rule> parsed;
    return parse(rules, parsed);
}

std::string set_faults(const std::string& rules) {
    std::vector<Rule> parsed;
    const std::string wrong = parse(rules, parsed);
    if (!wrong.empty()) return wrong;
    std::lock_guard<std::mutex> lock(active().mutex);
    active().rules = parsed;
    return "";
}

}  // namespace cann_sim

CANN_API const char* cann_sim_set_faults(const char* rules) {
    thread_local std::string answer;
    answer = cann_sim::set_faults(rules);
    return answer.c_str();
}

CANN_API const char* cann_sim_check_faults(const char* rules) {
    thread_local std::string answer;
    answer = cann_sim::check_faults(rules);
    return answer.c_str();
}
