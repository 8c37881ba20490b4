// The kinds of marud's options: what each reads, and what --help and a refusal say that it takes. options.cpp has the
// table.
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/options.hpp"

namespace maru::option_kinds {

using std::string;
using std::string_view;
using options = marud_options;

// One option: everything that is known of it. `set` answers with what the option takes when the text is no good.
struct row {
  const char* group;
  string name;
  string takes;  // the word that stands for the value in --help; empty for a flag
  string help;
  std::function<string(const options&)> get;
  std::function<std::optional<string>(options&, string_view)> set;
  const char* environment = nullptr;  // the variable that sets it too
  bool several = false;               // a list: may be given more than once
};

// The shortest text that parse_size reads back exactly.
string size_text(std::uint64_t bytes);

struct size_bounds {
  std::uint64_t min, max;
  std::uint64_t multiple = 1;
  bool zero = false;  // 0 is allowed too and means "choose for me"
};

row size(const char* group, string name, std::uint64_t options::*field, size_bounds b, string help);

template <class T>
row number(const char* group, string name, T options::*field, T min, T max, string help) {
  string takes = "a number from " + std::to_string(min) + " to " + std::to_string(max);
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    T value{};
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size() || value < min || value > max)
      return takes;
    o.*field = value;
    return std::nullopt;
  };
  return {group, std::move(name), "N", std::move(help), [=](const options& o) { return std::to_string(o.*field); },
          set};
}

// One of these words.
row choice(const char* group, string name, string options::*field, std::vector<string> words, const string& help);
row path(const char* group, string name, string options::*field, bool may_be_empty, string help);
// May be empty; `environment` sets it too.
row path(const char* group, string name, string options::*field, const char* environment, string help);
// Device specs with semicolons between them. May be empty.
row devices(const char* group, string name, string options::*field, string help);
// Names or numbers of users or groups: one, or several with commas between them. May be empty.
row names(const char* group, string name, string options::*field, bool several, string help);
// See parse_server_addresses.
row addresses(const char* group, string name, string options::*field, string help);
// HOST:PORT.
row address(const char* group, string name, string options::*field, string help);
row flag(const char* group, string name, bool options::*field, string help);
row file_mode(const char* group, string name, std::uint32_t options::*field, string help);

}  // namespace maru::option_kinds
