#include "base/device_spec.hpp"

#include <charconv>
#include <filesystem>
#include <system_error>

#include "base/size.hpp"

namespace maru {

namespace {

std::optional<int> parse_node(std::string_view text) {
  int node = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), node);
  bool whole = failed == std::errc{} && end == text.data() + text.size();
  return whole && node >= 0 ? std::optional{node} : std::nullopt;
}

}  // namespace

result<device_spec> parse_device_spec(std::string_view text) {
  auto refuse = [&](const std::string& cause) {
    return error{ec::bad_option,
                 "failed to read device '" + std::string{text} + "': " + cause + "; it is PATH[,size=SIZE][,node=N]"};
  };
  device_spec out;
  auto rest = text;
  for (bool first = true; first || !rest.empty(); first = false) {
    auto comma = rest.find(',');
    auto word = rest.substr(0, comma);
    rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
    if (first) {
      out.path = word;
    } else if (word.starts_with("size=")) {
      auto size = parse_size(word.substr(5));
      if (!size)
        return refuse(size.error().message);
      out.size = *size;
    } else if (word.starts_with("node=")) {
      out.node = parse_node(word.substr(5));
      if (!out.node)
        return refuse("'" + std::string{word.substr(5)} + "' is no NUMA node's number");
    } else {
      return refuse("'" + std::string{word} + "' is unknown");
    }
  }
  return out.path.empty() ? result<device_spec>{refuse("it has no path")} : out;
}

result<std::vector<device_spec>> parse_device_specs(std::string_view text) {
  std::vector<device_spec> out;
  while (!text.empty()) {
    auto end = text.find(';');
    auto spec = parse_device_spec(text.substr(0, end));
    if (!spec)
      return spec.error();
    out.push_back(*std::move(spec));
    text = end == text.npos ? std::string_view{} : text.substr(end + 1);
  }
  return out;
}

std::string to_string(const device_spec& spec) {
  auto text = spec.path;
  if (spec.size != 0)
    text += ",size=" + std::to_string(spec.size);
  if (spec.node)
    text += ",node=" + std::to_string(*spec.node);
  return text;
}

result<device_spec> with_real_path(device_spec spec) {
  std::error_code failed;
  auto what = "failed to find device '" + spec.path + "': ";
  if (spec.path.empty())
    return {ec::bad_option, what + "the path is empty"};
  auto real = std::filesystem::weakly_canonical(std::filesystem::absolute(spec.path, failed), failed);
  if (failed)
    return {ec::bad_option, what + failed.message()};
  if (std::filesystem::is_symlink(real, failed))
    return {ec::invalid, what + "it is a link to a file that does not exist"};
  spec.path = real.string();
  return spec;
}

}  // namespace maru
