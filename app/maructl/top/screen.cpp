#include "app/maructl/top/screen.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "app/maructl/table.hpp"

namespace maru::ctl {

namespace {

constexpr std::array order_names = {"requests", "memory", "pins", "grants"};
constexpr double restart_news_s = 60;

// What is shown of latencies, the most telling first: as many as there is room for.
constexpr std::array operations = {"lookup", "commit", "grant", "pin",        "unpin",
                                   "remove", "exists", "renew", "grant wait", "hello"};
constexpr std::size_t operations_min = 5;
constexpr std::size_t sessions_min = 4;

// Draws line after line.
class canvas {
public:
  canvas(screen_size size, look l) : size_(size), look_(l) {}

  screen_line line() const { return {size_.columns, look_}; }
  void add(const screen_line& l) {
    if (lines_.size() < size_.rows)
      lines_.push_back(l.text().substr(0, l.text().find_last_not_of(' ') + 1));
  }
  void blank() { add(line()); }
  std::size_t columns() const { return size_.columns; }
  std::size_t rows_left() const { return size_.rows - lines_.size(); }
  look how() const { return look_; }
  std::vector<std::string> lines() && { return std::move(lines_); }

private:
  screen_size size_;
  look look_;
  std::vector<std::string> lines_;
};

void draw_header(canvas& to, const top_view& v) {
  auto l = to.line();
  l.add("maru", style::bold);
  if (v.now)
    l.add(" " + printable(v.now->version));
  l.add("  " + printable(v.server), style::bold);
  if (v.now)
    l.add("  up " + duration_text(v.now->uptime_ms) + "  epoch " + std::to_string(v.now->epoch));
  l.at_end(v.clock, style::dim);
  to.add(l);
}

// What an operator should know first.
void draw_news(canvas& to, const top_view& v) {
  auto l = to.line();
  auto seconds = [](double s) { return duration_text(static_cast<std::uint64_t>(s * 1000)); };
  if (!v.trouble.empty())
    l.add("no answer for " + seconds(v.silent_s) + ", trying again: " + printable(v.trouble), style::bad);
  else if (!v.now)
    l.add("waiting for the first answer", style::dim);
  else if (!v.now->ready)
    l.add("marud is stopping", style::busy);
  else if (v.back_s && *v.back_s < restart_news_s)
    l.add("marud was started again, it answers since " + seconds(*v.back_s), style::busy);
  else if (v.now->pins_held_dead > 0)
    l.add("waiting for the proof that processes are gone: " + grouped(v.now->pins_held_dead) + " pins, "
            + grouped(v.now->pages.quarantined) + " pages",
          style::busy);
  else if (v.now->pages.quarantined > 0)
    l.add(grouped(v.now->pages.quarantined) + " pages in quarantine: damaged, or of workers not proven gone",
          style::busy);
  else if (v.now->pages.retired > 0)
    l.add(grouped(v.now->pages.retired) + " pages are retired: their memory failed", style::bad);
  else
    l.add(v.since.since_start ? "averages since marud's start" : "rates of the last " + seconds(v.since.seconds),
          style::dim);
  to.add(l);
}

struct meter {
  const char* name;
  std::string value;
  const std::deque<double>* past;
  double top;  // of a full bar; 0: the largest shown
  std::string note;
};

std::string per_second(double n) { return short_number(n) + "/s"; }

std::vector<meter> meters_of(const sample& s, const change& c, const history& past) {
  double lookups = static_cast<double>(s.hits) + static_cast<double>(s.misses);
  auto ever = percent(lookups > 0 ? static_cast<double>(s.hits) / lookups : unknown);
  return {
    {"hit rate", percent(c.hit_rate), &past.hit_rate, 1, per_second(c.lookups) + " lookups, ever " + ever},
    {"puts", per_second(c.stored), &past.stored, 0,
     per_second(c.existed) + " exist, " + per_second(c.failed) + " fail"},
    {"in flight", short_number(s.puts_in_flight), &past.in_flight, 0, "puts not answered yet"},
    {"pins", short_number(static_cast<double>(s.pins)), &past.pins, 0,
     per_second(c.pins_taken) + " taken, " + short_number(static_cast<double>(s.pins_held_dead)) + " held"},
    {"evicted", per_second(c.evicted), &past.evicted, 0, short_number(static_cast<double>(s.evicted)) + " ever"},
  };
}

void draw_meters(canvas& to, const top_view& v) {
  constexpr std::size_t name_width = 10, value_width = 9, gap = 2, note_width = 31;
  constexpr auto fixed = name_width + value_width + 2 * gap + note_width;
  auto width = to.columns() > fixed ? to.columns() - fixed : 0;
  for (const auto& m : meters_of(*v.now, v.since, v.past)) {
    auto l = to.line();
    l.left(m.name, name_width).right(m.value, value_width, style::bold).add("  ");
    l.add(sparkline(*m.past, width, m.top, to.how()), style::bar).add("  ").add(m.note, style::dim);
    to.add(l);
  }
}

struct part {
  const char* name;
  std::uint64_t pages, bytes;
  const char *block, *ascii;
  style how;
};

// The parts' shares of the bar; a part that is there has one cell at least, as long as there is room.
std::vector<std::size_t> shares(const std::vector<part>& parts, std::uint64_t whole, std::size_t width) {
  std::vector<std::size_t> out;
  std::size_t left = width;
  for (const auto& p : parts) {
    auto share = whole > 0 ? static_cast<double>(p.bytes) / static_cast<double>(whole) : 0;
    auto cells = static_cast<std::size_t>(std::lround(std::min(share, 1.0) * static_cast<double>(width)));
    out.push_back(std::min(left, std::max<std::size_t>(cells, p.bytes > 0 ? 1 : 0)));
    left -= out.back();
  }
  return out;
}

void draw_pool(canvas& to, const sample& s) {
  const std::vector<part> parts = {
    {"committed", s.pages.committed, s.bytes.committed, "█", "#", style::good},
    {"granted", s.pages.granted, s.bytes.granted, "▓", "g", style::busy},
    {"evicting", s.pages.evicting, s.bytes.evicting, "▒", "e", style::leaving},
    {"quarantined", s.pages.quarantined, s.bytes.quarantined, "▒", "q", style::bad},
    {"free", s.pages.free, s.bytes.free, "░", ".", style::dim},
    {"retired", s.pages.retired, s.bytes.retired, "x", "x", style::bad},
  };
  constexpr std::size_t named = 5;  // there is no room for more; what is retired is news
  constexpr std::size_t name_width = 10, size_width = 9;
  auto bar = to.line();
  bar.left("pool", name_width).right(short_size(s.pool_bytes), size_width, style::bold).add("  ");
  auto cells = shares(parts, s.pool_bytes, bar.room());
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (std::size_t n = 0; n < cells[i]; ++n)
      bar.add(to.how().utf8 ? parts[i].block : parts[i].ascii, parts[i].how);
  to.add(bar);
  auto names = to.line();
  auto counts = to.line();
  names.left("pages", name_width);
  counts.left("", name_width);
  for (const auto& p : std::span{parts}.first(named)) {
    names.right(p.name, 12, p.how);
    counts.right(p.pages > 999'999'999 ? short_number(static_cast<double>(p.pages)) : grouped(p.pages), 12);
  }
  names.right("room", 10);
  counts.right(short_size(s.unassigned_bytes), 10);
  to.add(names);
  to.add(counts);
}

void draw_latency(canvas& to, const top_view& v, std::size_t count) {
  constexpr std::size_t name_width = 10, value_width = 9;
  auto head = to.line();
  head.left("latency", name_width, style::bold);
  for (auto title : {"a second", "p50", "p99", "p99.9"})
    head.right(title, value_width, style::dim);
  to.add(head.add("  p99 over time", style::dim));
  for (std::size_t i = 0; i < std::min(count, operations.size()); ++i) {
    auto found = v.since.latencies.find(operations[i]);
    auto is = found == v.since.latencies.end() ? latency{} : found->second;
    auto l = to.line();
    l.left(operations[i], name_width).right(short_number(is.per_s), value_width);
    for (double value : {is.p50, is.p99, is.p999})
      l.right(short_seconds(value), value_width);
    l.add("  ");
    if (auto past = v.past.p99.find(operations[i]); past != v.past.p99.end())
      l.add(sparkline(past->second, l.room(), 0, to.how()), style::bar);
    to.add(l);
  }
}

std::vector<session_sample> sorted(std::vector<session_sample> all, const change& since, session_order order) {
  auto weight = [&](const session_sample& s) -> double {
    switch (order) {
      case session_order::committed: return static_cast<double>(s.committed_bytes);
      case session_order::pins: return static_cast<double>(s.pins);
      case session_order::grants: return static_cast<double>(s.grants);
      default: {
        auto found = since.session_requests.find(s.id);
        return found == since.session_requests.end() ? 0 : found->second;
      }
    }
  };
  std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return weight(a) > weight(b); });
  return all;
}

void draw_sessions(canvas& to, const top_view& v, std::size_t count) {
  constexpr std::size_t number_width = 8, state_width = 9, size_width = 10;
  auto rows = sorted(v.now->sessions, v.since, v.order);
  std::size_t id_width = 7;
  for (const auto& s : rows)
    id_width = std::max(id_width, std::to_string(s.id).size());
  auto fixed = id_width + 2 + 2 + state_width + 4 * number_width + size_width;
  auto name_width = std::clamp<std::size_t>(to.columns() > fixed ? to.columns() - fixed : 0, 8, 40);
  auto head = to.line();
  head.right("session", id_width, style::bold).add("  ").left("worker", name_width, style::dim).add("  ");
  head.left("state", state_width, style::dim);
  auto title = [&](const char* name, std::size_t width, session_order o) {
    head.right(name, width, v.order == o ? style::bold : style::dim);
  };
  title("req/s", number_width, session_order::requests);
  title("memory", size_width, session_order::committed);
  title("pins", number_width, session_order::pins);
  title("grants", number_width, session_order::grants);
  head.right("lease", number_width, style::dim);
  to.add(head);
  for (std::size_t i = 0; i < std::min(count, rows.size()); ++i) {
    const auto& s = rows[i];
    auto requests = v.since.session_requests.find(s.id);
    auto l = to.line();
    l.right(std::to_string(s.id), id_width).add("  ").left(printable(s.worker), name_width).add("  ");
    l.left(printable(s.state), state_width, s.state == "active" ? style::plain : style::busy);
    l.right(short_number(requests == v.since.session_requests.end() ? unknown : requests->second), number_width);
    l.right(short_size(s.committed_bytes), size_width);
    l.right(short_number(static_cast<double>(s.pins)), number_width);
    l.right(short_number(static_cast<double>(s.grants)), number_width);
    l.right(s.lease_left_ms <= 0 ? "over" : short_seconds(static_cast<double>(s.lease_left_ms) / 1000), number_width);
    to.add(l);
  }
}

void draw_footer(canvas& to, const top_view& v) {
  auto l = to.line();
  l.add("q", style::bold).add(" quit   ").add("s", style::bold);
  l.add(std::string{" sessions by "} + order_names[static_cast<std::size_t>(v.order)]);
  if (v.now)
    l.at_end(grouped(v.now->sessions.size()) + " sessions", style::dim);
  to.add(l);
}

void keep(std::deque<double>& to, double value) {
  to.push_back(value);
  if (to.size() > history::samples_max)
    to.pop_front();
}

}  // namespace

void history::add(const sample& now, const change& since) {
  keep(hit_rate, since.hit_rate);
  keep(stored, since.stored);
  keep(in_flight, now.puts_in_flight);
  keep(pins, static_cast<double>(now.pins));
  keep(evicted, since.evicted);
  for (const auto& [op, is] : since.latencies)
    keep(p99[op], is.p99);
}

void history::add_gap() {
  for (auto* values : {&hit_rate, &stored, &in_flight, &pins, &evicted})
    keep(*values, unknown);
  for (auto& [op, values] : p99)
    keep(values, unknown);
}

std::vector<std::string> draw(const top_view& view, screen_size size, look l, bool footer) {
  bool with_footer = footer && size.rows > 2;
  canvas to{{size.columns, size.rows - (with_footer ? 1 : 0)}, l};
  draw_header(to, view);
  draw_news(to, view);
  if (view.now) {
    draw_meters(to, view);
    draw_pool(to, *view.now);
    to.blank();
    // Two lines for titles and one between; operations get half of what is there beyond the least of both.
    constexpr std::size_t around = 3;
    auto spare = to.rows_left() - std::min(to.rows_left(), around + operations_min + sessions_min);
    auto shown = std::min(operations.size(), operations_min + spare / 2);
    draw_latency(to, view, shown);
    to.blank();
    draw_sessions(to, view, to.rows_left());
  }
  if (!with_footer)
    return std::move(to).lines();
  while (to.rows_left() > 0)
    to.blank();
  auto lines = std::move(to).lines();
  canvas bottom{{size.columns, 1}, l};
  draw_footer(bottom, view);
  lines.push_back(std::move(bottom).lines().at(0));
  return lines;
}

}  // namespace maru::ctl
