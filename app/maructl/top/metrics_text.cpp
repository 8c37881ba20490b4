#include "app/maructl/top/metrics_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

namespace maru::ctl {

namespace {

// Reads what is at the front of `rest` and takes it away.
class reader {
public:
  explicit reader(std::string_view text) : rest_(text) {}

  bool take(char c) {
    if (rest_.empty() || rest_.front() != c)
      return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view until(std::string_view ends) {
    auto word = rest_.substr(0, rest_.find_first_of(ends));
    rest_.remove_prefix(word.size());
    return word;
  }
  // A quoted text, where \\, \" and \n stand for one character.
  std::optional<std::string> quoted() {
    std::string out;
    if (!take('"'))
      return std::nullopt;
    while (!rest_.empty() && rest_.front() != '"') {
      if (take('\\') && !rest_.empty())
        out += rest_.front() == 'n' ? '\n' : rest_.front();
      else
        out += rest_.front();
      rest_.remove_prefix(rest_.empty() ? 0 : 1);
    }
    return take('"') ? std::optional{out} : std::nullopt;
  }
  std::string_view rest() const { return rest_; }

private:
  std::string_view rest_;
};

std::optional<double> number(std::string_view text) {
  std::string word{text};
  char* end = nullptr;
  double value = std::strtod(word.c_str(), &end);
  return end == word.c_str() ? std::nullopt : std::optional{value};
}

bool has(const metrics_text::labels& all, const metrics_text::labels& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& l) {
    auto found = all.find(l.first);
    return found != all.end() && found->second == l.second;
  });
}

std::optional<metrics_text::labels> read_labels(reader& in) {
  metrics_text::labels out;
  if (!in.take('{'))
    return out;
  while (!in.take('}')) {
    auto name = in.until("=}");
    auto value = in.take('=') ? in.quoted() : std::nullopt;
    if (!value)
      return std::nullopt;
    out.emplace(name, *std::move(value));
    in.take(',');
  }
  return out;
}

}  // namespace

double histogram::quantile(double q) const {
  double wanted = q * count();
  if (count() <= 0)
    return std::numeric_limits<double>::quiet_NaN();
  double lower = 0, below = 0;
  for (const auto& b : buckets) {
    if (b.count >= wanted && b.count > below)
      return std::isinf(b.upper) ? lower : lower + (b.upper - lower) * (wanted - below) / (b.count - below);
    below = b.count;
    lower = b.upper;
  }
  return lower;
}

histogram histogram::since(const histogram& before) const {
  if (before.buckets.size() != buckets.size())
    return *this;
  auto out = *this;
  for (std::size_t i = 0; i < buckets.size(); ++i)
    out.buckets[i].count = std::max(0.0, buckets[i].count - before.buckets[i].count);
  return out;
}

metrics_text::metrics_text(std::string_view text) {
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    reader in{line};
    std::string name{in.until("{ ")};
    auto with = name.empty() || name.front() == '#' ? std::nullopt : read_labels(in);
    auto value = with ? number(in.rest()) : std::nullopt;
    if (value)
      samples_[name].push_back({*std::move(with), *value});
  }
}

double metrics_text::sum(const std::string& name, const labels& wanted) const {
  double out = 0;
  if (auto found = samples_.find(name); found != samples_.end())
    for (const auto& s : found->second)
      out += has(s.with, wanted) ? s.value : 0;
  return out;
}

histogram metrics_text::distribution(const std::string& name, const labels& wanted) const {
  histogram out;
  auto found = samples_.find(name + "_bucket");
  if (found == samples_.end())
    return out;
  for (const auto& s : found->second) {
    auto le = s.with.find("le");
    if (le == s.with.end() || s.with.size() != wanted.size() + 1 || !has(s.with, wanted))
      continue;
    if (auto upper = number(le->second))
      out.buckets.push_back({*upper, s.value});
  }
  std::sort(out.buckets.begin(), out.buckets.end(), [](const auto& a, const auto& b) { return a.upper < b.upper; });
  return out;
}

std::vector<std::string> metrics_text::values(const std::string& name, const std::string& label) const {
  std::vector<std::string> out;
  if (auto found = samples_.find(name); found != samples_.end())
    for (const auto& s : found->second)
      if (auto at = s.with.find(label);
          at != s.with.end() && std::find(out.begin(), out.end(), at->second) == out.end())
        out.push_back(at->second);
  return out;
}

}  // namespace maru::ctl
