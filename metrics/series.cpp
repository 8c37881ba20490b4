#include "metrics/series.hpp"

namespace maru::metrics {

namespace {

constexpr std::size_t word_series_max = 64;  // more than these become "other"

prometheus::MetricType type_of(kind k) {
  return k == kind::counter ? prometheus::MetricType::Counter
         : k == kind::gauge ? prometheus::MetricType::Gauge
                            : prometheus::MetricType::Histogram;
}

}  // namespace

prometheus::MetricFamily empty_family(const definition& what) {
  prometheus::MetricFamily family;
  family.name = what.name;
  family.help = what.help;
  family.type = type_of(what.type);
  return family;
}

series::series(const definition& what)
    : what_(what),
      slots_(what.type == kind::histogram ? what.buckets.size() + 1 : 1),
      counts_(what.type == kind::gauge ? 0 : what.series() * slots_),
      values_(what.type == kind::gauge ? what.series() : 0),
      sums_(what.type == kind::histogram ? what.series() : 0),
      scale_(what.unit == "seconds" ? 1e9 : 1) {}

void series::observe(std::size_t index, double value) {
  auto bucket = std::lower_bound(what_.buckets.begin(), what_.buckets.end(), value) - what_.buckets.begin();
  counts_[index * slots_ + static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sums_[index].fetch_add(static_cast<std::uint64_t>(std::llround(value * scale_)), std::memory_order_relaxed);
}

std::vector<prometheus::ClientMetric::Label> series::labels(std::size_t index) const {
  std::vector<prometheus::ClientMetric::Label> out(what_.labels.size());
  for (auto i = out.size(); i-- > 0;) {
    const auto& [name, values] = what_.labels[i];
    out[i] = {std::string{name}, std::string{values[index % values.size()]}};
    index /= values.size();
  }
  return out;
}

prometheus::ClientMetric::Histogram series::histogram(std::size_t index) const {
  prometheus::ClientMetric::Histogram out;
  for (std::size_t b = 0; b < slots_; ++b) {
    out.sample_count += counts_[index * slots_ + b].load(std::memory_order_relaxed);
    out.bucket.push_back({out.sample_count, b < what_.buckets.size() ? what_.buckets[b] : INFINITY});
  }
  out.sample_sum = static_cast<double>(sums_[index].load(std::memory_order_relaxed)) / scale_;
  return out;
}

prometheus::MetricFamily series::collect() const {
  auto family = empty_family(what_);
  family.metric.resize(what_.series());
  for (std::size_t i = 0; i < family.metric.size(); ++i) {
    auto& m = family.metric[i];
    m.label = labels(i);
    if (what_.type == kind::counter)
      m.counter.value = static_cast<double>(counted(i));
    else if (what_.type == kind::gauge)
      m.gauge.value = value(i);
    else
      m.histogram = histogram(i);
  }
  return family;
}

void word_counter::count(std::vector<std::string> words) {
  std::lock_guard guard{mutex_};
  if (auto at = counts_.find(words); at != counts_.end())
    ++at->second;
  else if (counts_.size() < word_series_max)
    counts_.emplace(std::move(words), 1);
  else
    ++others_;
}

namespace {

prometheus::ClientMetric& add_series(prometheus::MetricFamily& family, const definition& what,
                                     const std::vector<std::string>& words) {
  auto& m = family.metric.emplace_back();
  for (std::size_t i = 0; i < words.size(); ++i)
    m.label.push_back({std::string{what.labels[i].name}, words[i]});
  return m;
}

}  // namespace

void word_gauge::set(std::map<std::vector<std::string>, double> values) {
  std::lock_guard guard{mutex_};
  values_ = std::move(values);
}

prometheus::MetricFamily word_gauge::collect() const {
  auto family = empty_family(what_);
  std::lock_guard guard{mutex_};
  for (const auto& [words, value] : values_)
    add_series(family, what_, words).gauge.value = value;
  return family;
}

prometheus::MetricFamily word_counter::collect() const {
  auto family = empty_family(what_);
  auto add = [&](const std::vector<std::string>& words, std::uint64_t n) {
    add_series(family, what_, words).counter.value = static_cast<double>(n);
  };
  std::lock_guard guard{mutex_};
  for (const auto& [words, n] : counts_)
    add(words, n);
  if (others_ > 0)
    add(std::vector<std::string>(what_.labels.size(), "other"), others_);
  return family;
}

}  // namespace maru::metrics
