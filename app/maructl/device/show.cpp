#include "app/maructl/device/show.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "app/maructl/table.hpp"
#include "base/size.hpp"

namespace maru::ctl {

using nlohmann::json;

namespace {

constexpr auto left = table::align::left;
constexpr auto right = table::align::right;

std::string size_text(const json& value) { return value.is_null() ? "" : format_size(value.get<std::uint64_t>()); }
std::string number_text(const json& value) { return value.is_null() ? "" : std::to_string(value.get<int>()); }

}  // namespace

std::string show_contents(const json& contents) {
  if (contents.is_null())
    return "";
  return contents.at("state").get<std::string>();
}

std::string show_devices(const json& rows) {
  table out{{{"path", left},
             {"kind", left},
             {"size", right},
             {"free", right},
             {"align", right},
             {"node", right},
             {"mode", left},
             {"access", left},
             {"contents", left},
             {"options of marud, or what comes first", left}}};
  for (const auto& r : rows) {
    auto path = r.at("path").get<std::string>();
    auto first = r.at("first").get<std::string>();
    out.add({r.contains("in") ? "  " + path : path, r.at("kind").get<std::string>(), size_text(r.at("size")),
             size_text(r.at("free")), size_text(r.at("align")), number_text(r.at("node")),
             r.at("mode").get<std::string>(), r.at("access").get<std::string>(), show_contents(r.at("contents")),
             first.empty() ? r.at("options").get<std::string>() : "first: " + first});
  }
  return out.empty() ? "nothing on this machine can hold a pool\n" : out.text();
}

}  // namespace maru::ctl
