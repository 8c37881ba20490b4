// Prometheus' text format (0.0.4), as far as maructl reads it: values by name and labels, histograms with their sums.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace maru::ctl {

// Observations by their upper bound, each bucket with those of the ones before it.
struct histogram {
  struct bucket {
    double upper = 0;  // the last one's is infinite
    double count = 0;
  };
  std::vector<bucket> buckets;

  double count() const { return buckets.empty() ? 0 : buckets.back().count; }
  // The value that the share `q` (0 to 1) of observations does not pass, taken as spread evenly within its bucket, as
  // Prometheus does. Past the last finite bound: that bound. NaN: no observations.
  double quantile(double q) const;
  // What was observed since `before`; all of it where the two have other buckets.
  histogram since(const histogram& before) const;
};

class metrics_text {
public:
  using labels = std::map<std::string, std::string>;

  // Lines that are no samples are passed over.
  explicit metrics_text(std::string_view text);

  // The sum of all samples of that name whose labels have all of `wanted`. 0: there is none.
  double sum(const std::string& name, const labels& wanted = {}) const;
  // The histogram NAME, of the series with exactly `wanted` beside `le`. Empty: there is none.
  histogram distribution(const std::string& name, const labels& wanted = {}) const;
  // The values that a label of a name has, in no particular order.
  std::vector<std::string> values(const std::string& name, const std::string& label) const;

private:
  struct one {
    labels with;
    double value = 0;
  };
  std::map<std::string, std::vector<one>, std::less<>> samples_;
};

}  // namespace maru::ctl
