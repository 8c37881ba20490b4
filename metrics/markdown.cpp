// docs/metrics.md, from the table.
#include "metrics/table.hpp"

namespace maru::metrics {

namespace {

constexpr std::string_view head = R"(# Metrics

What `marud` shows at `/metrics` (option `--http`, by default at `127.0.0.1:9555`), in the text format of Prometheus.
Made from the table in `metrics/table.cpp`; after a change there: `build/release/bin/metrics_table > docs/metrics.md`.

Every series whose label values are listed here exists from the start, with 0: `rate()` sees its first event. A histogram has
the series `_bucket`, `_sum` and `_count`. Labels whose values are words of a component are bounded at 64 combinations; what
comes later is counted as `other`. [runbook.md](runbook.md) says what to do when an alert fires;
`deploy/prometheus` has the rules, `deploy/grafana` the dashboards.
)";

// The values of a label in a table's cell.
std::string values_of(const label& l) {
  if (l.values.empty())
    return "a word";
  std::string out;
  for (auto value : l.values)
    out.append(out.empty() ? "" : ", ").append(value);
  return out;
}

std::string row(const definition& d) {
  std::string labels;
  for (const auto& l : d.labels)
    labels.append(labels.empty() ? "" : "; ").append("`").append(l.name).append("`: ").append(values_of(l));
  std::string out = "| `";
  out.append(d.name).append("` | ").append(to_string(d.type)).append(" | ").append(d.unit).append(" | ");
  out.append(labels).append(" | ").append(d.help).append(" |\n");
  return out;
}

}  // namespace

std::string markdown() {
  std::string out{head};
  std::string_view theme;
  for (const auto& d : table()) {
    if (d.theme != theme)
      out.append("\n## ").append(d.theme).append(
        "\n\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    theme = d.theme;
    out += row(d);
  }
  return out;
}

}  // namespace maru::metrics
