// Just enough JSON to write an object: the counters and the settings.
#pragma once

#include <concepts>
#include <string>

namespace cann_sim {

inline std::string quoted(const std::string& text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return result + "\"";
}

class JsonObject {
public:
    JsonObject& add(const std::string& key, const std::string& value) { return raw(key, quoted(value)); }
    JsonObject& add(const std::string& key, bool value) { return raw(key, value ? "true" : "false"); }
    template <std::integral Number>
    JsonObject& add(const std::string& key, Number value) { return raw(key, std::to_string(value)); }
    // `value` is JSON already.
    JsonObject& raw(const std::string& key, const std::string& value) {
        body += (body.empty() ? "" : ", ") + quoted(key) + ": " + value;
        return *this;
    }
    std::string text() const { return "{" + body + "}"; }

private:
    std::string body;
};

}  // namespace cann_sim
