#include "base/option_kinds.hpp"
#include "base/device_spec.hpp"

#include <algorithm>
#include <cstdio>

#include "base/host_port.hpp"
#include "base/server_address.hpp"
#include "base/size.hpp"
#include "base/text_list.hpp"

namespace maru::option_kinds {

string size_text(std::uint64_t bytes) {
  constexpr string_view units[] = {"TiB", "GiB", "MiB", "KiB"};
  std::uint64_t factor = std::uint64_t{1} << 40;
  for (auto unit : units) {
    if (bytes != 0 && bytes % factor == 0)
      return std::to_string(bytes / factor) + string{unit};
    factor >>= 10;
  }
  return std::to_string(bytes);
}

row size(const char* group, string name, std::uint64_t options::*field, size_bounds b, string help) {
  string takes = "a size from " + size_text(b.min) + " to " + size_text(b.max);
  if (b.multiple > 1)
    takes += " in multiples of " + size_text(b.multiple);
  if (b.zero)
    takes = "0 or " + takes;
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    auto value = parse_size(text);
    bool fits = value && ((b.zero && *value == 0) || (*value >= b.min && *value <= b.max && *value % b.multiple == 0));
    if (!fits)
      return takes;
    o.*field = *value;
    return std::nullopt;
  };
  return {group, std::move(name), "SIZE", std::move(help), [=](const options& o) { return size_text(o.*field); }, set};
}

row choice(const char* group, string name, string options::*field, std::vector<string> words, const string& help) {
  string takes, shown;
  for (const auto& word : words) {
    takes += (takes.empty() ? "" : word == words.back() ? " or " : ", ") + word;
    shown += (shown.empty() ? "" : "|") + word;
  }
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (std::find(words.begin(), words.end(), text) == words.end())
      return takes;
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "WORD", help + " [" + shown + "]", [=](const options& o) { return o.*field; }, set};
}

row path(const char* group, string name, string options::*field, bool may_be_empty, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (text.empty() && !may_be_empty)
      return "a path";
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "PATH", std::move(help), [=](const options& o) { return o.*field; }, set};
}

row path(const char* group, string name, string options::*field, const char* environment, string help) {
  auto out = path(group, std::move(name), field, true, std::move(help));
  out.environment = environment;
  return out;
}

row devices(const char* group, string name, string options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (!parse_device_specs(text))
      return "PATH[,size=SIZE][,node=N], several with semicolons between them";
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "DEVICES", std::move(help), [=](const options& o) { return o.*field; }, set};
}

row names(const char* group, string name, string options::*field, bool several, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    auto items = split_list(text);
    bool whole = std::none_of(items.begin(), items.end(), [](string_view item) { return item.empty(); });
    bool blank = items.empty() && !text.empty();  // would admit everybody
    if (blank || !whole || (!several && items.size() > 1))
      return several ? "names or numbers with commas between them" : "a name or a number";
    o.*field = text;
    return std::nullopt;
  };
  return {group,
          std::move(name),
          several ? "NAMES" : "NAME",
          std::move(help),
          [=](const options& o) { return o.*field; },
          set,
          nullptr,
          several};
}

row addresses(const char* group, string name, string options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (!parse_server_addresses(text))
      return "HOST:PORT, such as 127.0.0.1:5555 or [::1]:5555, with a port from 0 to 65535, or unix:/PATH; several: "
             "each "
             "once, with commas between them";
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "ADDRESS", std::move(help), [=](const options& o) { return o.*field; },
          set,   nullptr,         true};
}

row address(const char* group, string name, string options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (!parse_host_port(text))
      return "HOST:PORT, such as 127.0.0.1:5555 or [::1]:5555, with a port from 0 to 65535";
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "HOST:PORT", std::move(help), [=](const options& o) { return o.*field; }, set};
}

row flag(const char* group, string name, bool options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (text != "true" && text != "false")
      return "true or false";
    o.*field = text == "true";
    return std::nullopt;
  };
  auto get = [=](const options& o) { return string{o.*field ? "true" : "false"}; };
  return {group, std::move(name), "", std::move(help), get, set};
}

row file_mode(const char* group, string name, std::uint32_t options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    std::uint32_t value = 0;
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
    if (code != std::errc{} || end != text.data() + text.size() || value > 0777 || (value & 0600) != 0600)
      return "an octal file mode from 0600 to 0777 that lets the owner read and write";
    o.*field = value;
    return std::nullopt;
  };
  auto get = [=](const options& o) {
    char text[16];
    std::snprintf(text, sizeof text, "%04o", o.*field);
    return string{text};
  };
  return {group, std::move(name), "MODE", std::move(help), get, set};
}

}  // namespace maru::option_kinds
