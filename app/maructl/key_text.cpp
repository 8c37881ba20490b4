#include "app/maructl/key_text.hpp"

#include <algorithm>
#include <optional>

#include "base/bounds.hpp"
#include "base/hex.hpp"

namespace maru::ctl {

namespace {

constexpr std::string_view hex_prefix = "hex:";
bool visible(char c) { return c > ' ' && c <= '~'; }

}  // namespace

result<std::string> parse_key(std::string_view text) {
  std::optional<std::string> key{text};
  if (text.substr(0, hex_prefix.size()) == hex_prefix)
    key = from_hex(text.substr(hex_prefix.size()));
  if (!key)
    return {ec::bad_option, "failed to read '" + std::string{text} + "': hex: is followed by two digits a byte"};
  if (key->empty() || key->size() > bounds::key_bytes_max)
    return {ec::bad_option, "failed to use KEY: it has " + std::to_string(key->size()) + " bytes, a key has 1 to "
                              + std::to_string(bounds::key_bytes_max)};
  return *std::move(key);
}

std::string show_key(std::string_view key) {
  bool plain = !key.empty() && std::all_of(key.begin(), key.end(), visible);
  if (plain && key.substr(0, hex_prefix.size()) != hex_prefix)
    return std::string{key};
  return std::string{hex_prefix} + to_hex(key);
}

}  // namespace maru::ctl
