#include "app/bench/replay_report.hpp"

#include <nlohmann/json.hpp>

#include "app/bench/format.hpp"
#include "app/bench/machine.hpp"
#include "base/size.hpp"

namespace maru::bench {

namespace {

// 1234567 -> "1,234,567"
std::string grouped(std::uint64_t n) {
  auto text = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

std::string line(const char* name, const std::string& value) { return format("  %-18s ", name) + value + "\n"; }

std::string rate(std::uint64_t bytes, double seconds) {
  return format("%s (%.0f MiB/s)", format_size(bytes).c_str(), static_cast<double>(bytes) / seconds / (1 << 20));
}

std::string source(const replay_options& options) {
  return options.trace_path.empty() ? "generated conversations, seed " + std::to_string(options.conversations.seed)
                                    : options.trace_path;
}

std::string room(const replay_plan& plan) {
  if (plan.chunks == 0)
    return "the server's";
  return grouped(plan.chunks) + " chunks" + (plan.evicts ? "" : ", all of the trace");
}

// The way that lookups and pins took.
std::string reads(const replay_options& options, const replay_totals& totals) {
  if (totals.local_workers == 0)
    return options.messages ? "by message, as asked" : "by message";
  if (totals.local_workers == options.workers)
    return "in the pool itself";
  return format("in the pool itself by %u of %u workers, else by message", totals.local_workers, options.workers);
}

std::string step_table(const replay_totals& totals) {
  auto out = format("  %-10s %10s %10s %10s %10s %10s %10s\n", "operation", "count", "per s", "p50 us", "p99 us",
                    "p99.9 us", "max us");
  for (std::size_t s = 0; s < step_count; ++s) {
    const auto& h = totals.steps[s];
    out += format("  %-10s %10s %10.0f %10.1f %10.1f %10.1f %10.1f\n", std::string{step_names[s]}.c_str(),
                  grouped(h.count()).c_str(), static_cast<double>(h.count()) / totals.seconds, h.quantile_ns(0.5) / 1e3,
                  h.quantile_ns(0.99) / 1e3, h.quantile_ns(0.999) / 1e3, static_cast<double>(h.max_ns()) / 1e3);
  }
  return out;
}

}  // namespace

std::string simulation_text(const replay_options& options, const replay_plan& plan, const trace& t) {
  return line("trace", source(options)) + line("requests", grouped(t.requests.size()))
         + line("blocks", grouped(plan.blocks) + ", " + grouped(plan.distinct) + " distinct") + line("room", room(plan))
         + line("exact LRU hits", format("%.2f %%", 100 * plan.simulated_hit_rate));
}

std::string report_text(const replay_options& options, const replay_plan& plan, const replay_totals& totals) {
  auto out = line("trace", source(options)) + line("machine", to_string(this_machine()));
  out += line("requests", format("%s in %.1f s (%.0f/s), %u worker%s", grouped(totals.requests).c_str(), totals.seconds,
                                 static_cast<double>(totals.requests) / totals.seconds, options.workers,
                                 options.workers == 1 ? "" : "s"));
  out += line("pool", room(plan) + ", chunks of " + format_size(options.chunk_bytes));
  out += line("lookups", reads(options, totals));
  auto hits = format("%.2f %% (%s of %s blocks)", 100 * totals.hit_rate(), grouped(totals.hit_blocks).c_str(),
                     grouped(totals.blocks).c_str());
  if (plan.chunks != 0)
    hits += format("; an exact LRU of this size, requests one by one: %.2f %%", 100 * plan.simulated_hit_rate);
  out += line("prefix hit rate", hits);
  out += line("read in place", grouped(totals.hit_blocks) + " chunks, " + rate(totals.read_bytes, totals.seconds));
  out += line("written", grouped(totals.written_chunks) + " chunks, " + rate(totals.written_bytes, totals.seconds)
                           + (totals.exists == 0 ? "" : "; " + grouped(totals.exists) + " more were there already"));
  out += line("wrong bytes",
              grouped(totals.wrong_bytes)
                + (options.verify ? " (every byte read was checked)" : " (one cache line of each 4 KiB was checked)"));
  out += line("errors", grouped(totals.errors) + (totals.problem.empty() ? "" : ", the first: " + totals.problem));
  return out + step_table(totals);
}

std::string report_json(const replay_options& options, const replay_plan& plan, const replay_totals& totals) {
  nlohmann::ordered_json steps;
  for (std::size_t s = 0; s < step_count; ++s) {
    const auto& h = totals.steps[s];
    steps[std::string{step_names[s]}] = {{"count", h.count()},
                                         {"per_s", static_cast<double>(h.count()) / totals.seconds},
                                         {"p50_us", h.quantile_ns(0.5) / 1e3},
                                         {"p99_us", h.quantile_ns(0.99) / 1e3},
                                         {"p999_us", h.quantile_ns(0.999) / 1e3},
                                         {"max_us", static_cast<double>(h.max_ns()) / 1e3}};
  }
  nlohmann::ordered_json out = {{"prefix_hit_rate", totals.hit_rate()},
                                {"simulated_prefix_hit_rate", plan.simulated_hit_rate},
                                {"wrong_bytes", totals.wrong_bytes},
                                {"errors", totals.errors},
                                {"first_error", totals.problem},
                                {"requests", totals.requests},
                                {"seconds", totals.seconds},
                                {"requests_per_s", static_cast<double>(totals.requests) / totals.seconds},
                                {"blocks", totals.blocks},
                                {"hit_blocks", totals.hit_blocks},
                                {"read_bytes", totals.read_bytes},
                                {"written_chunks", totals.written_chunks},
                                {"written_bytes", totals.written_bytes},
                                {"existed", totals.exists},
                                {"local_workers", totals.local_workers},
                                {"operations", steps},
                                {"parameters",
                                 {{"trace", options.trace_path},
                                  {"seed", options.conversations.seed},
                                  {"server", options.server},
                                  {"pool_pages", plan.chunks},
                                  {"pool_pages_with_reserve", plan.pages},
                                  {"page_bytes", plan.page_bytes},
                                  {"workers", options.workers},
                                  {"chunk_bytes", options.chunk_bytes},
                                  {"verify", options.verify},
                                  {"messages", options.messages}}},
                                {"machine", to_json(this_machine())}};
  return out.dump(2) + "\n";
}

}  // namespace maru::bench
