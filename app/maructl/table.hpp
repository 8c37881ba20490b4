// Columns for people: as wide as their widest cell, numbers to the right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace maru::ctl {

class table {
public:
  enum class align { left, right };
  struct column {
    std::string title;
    align side = align::left;
  };

  explicit table(std::vector<column> columns) : columns_(std::move(columns)) {}
  // REQUIRES: one cell a column.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  // A line for the titles and one a row, no spaces at the end of a line.
  std::string text() const;

private:
  std::vector<column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// 1234567 -> "1,234,567"
std::string grouped(std::uint64_t n);
// 93784000 -> "1d 2h", 65200 -> "1m 5s", 1234 -> "1.2s"
std::string duration_text(std::uint64_t ms);

}  // namespace maru::ctl
