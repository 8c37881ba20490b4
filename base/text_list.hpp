// "a, b,c": lists as options write them.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

namespace maru {

// The items between commas, without blanks around them; an empty text has none, an empty item between commas is one.
inline std::vector<std::string_view> split_list(std::string_view text) {
  constexpr std::string_view blanks = " \t";
  std::vector<std::string_view> items;
  if (text.find_first_not_of(blanks) == text.npos)
    return items;
  for (;;) {
    auto comma = text.find(',');
    auto item = text.substr(0, comma);
    item.remove_prefix(std::min(item.find_first_not_of(blanks), item.size()));
    items.push_back(item.substr(0, item.find_last_not_of(blanks) + 1));
    if (comma == text.npos)
      return items;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace maru
