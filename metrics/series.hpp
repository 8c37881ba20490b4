// The series of one metric and their values. Written without locks: Prometheus' own histograms take one for every value.
#pragma once

#include <prometheus/metric_family.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "metrics/table.hpp"

namespace maru::metrics {

// All series that a metric has from the start, by the index of their label values: of two labels it is
// first * (number of second ones) + second. Threading: any thread; one relaxed atomic addition a call, `observe` two.
class series {
public:
  explicit series(const definition& what);

  void count(std::size_t index, std::uint64_t n) { counts_[index].fetch_add(n, std::memory_order_relaxed); }
  // For counters that somebody else keeps.
  void count_to(std::size_t index, std::uint64_t sum) { counts_[index].store(sum, std::memory_order_relaxed); }
  void set(std::size_t index, double value) { values_[index].store(value, std::memory_order_relaxed); }
  void change(std::size_t index, double by) { values_[index].fetch_add(by, std::memory_order_relaxed); }
  void observe(std::size_t index, double value);

  std::uint64_t counted(std::size_t index) const { return counts_[index].load(std::memory_order_relaxed); }
  double value(std::size_t index) const { return values_[index].load(std::memory_order_relaxed); }

  prometheus::MetricFamily collect() const;

private:
  prometheus::ClientMetric::Histogram histogram(std::size_t index) const;
  std::vector<prometheus::ClientMetric::Label> labels(std::size_t index) const;

  const definition& what_;
  std::size_t slots_;                               // of a series in counts_: 1, or the buckets and the one above
  std::vector<std::atomic<std::uint64_t>> counts_;  // of counters and of buckets
  std::vector<std::atomic<double>> values_;         // of gauges
  std::vector<std::atomic<std::uint64_t>>
    sums_;  // of histograms; seconds as nanoseconds: doubles have no single addition
  double scale_;
};

// A counter whose label values are words of the caller. A series is made at its first use, and there is a bound on them.
class word_counter {
public:
  explicit word_counter(const definition& what) : what_(what) {}
  void count(std::vector<std::string> words);
  prometheus::MetricFamily collect() const;

private:
  const definition& what_;
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::uint64_t> counts_;
  std::uint64_t others_ = 0;
};

// A gauge of which a label's values are words of the caller, who sets all series at once: those that are not named are no more.
class word_gauge {
public:
  explicit word_gauge(const definition& what) : what_(what) {}
  void set(std::map<std::vector<std::string>, double> values);
  prometheus::MetricFamily collect() const;

private:
  const definition& what_;
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, double> values_;
};

prometheus::MetricFamily empty_family(const definition& what);

}  // namespace maru::metrics
