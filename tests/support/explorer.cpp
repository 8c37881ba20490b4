#include "tests/support/explorer.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

namespace maru::test {

namespace {

struct step {
  enum class kind : std::uint8_t { run, drain, kill };
  kind what = kind::run;
  std::uint32_t thread = 0;
  std::size_t choice = 0;  // of run a way, of drain a store
};

// Everything that decides how an execution goes on.
struct state {
  std::unique_ptr<model_memory> memory;
  std::vector<std::uint64_t> ghosts;  // by word
  std::vector<std::uint32_t> at;      // by thread: its node
  std::vector<bool> dead;             // by thread

  state(const state& other) : memory(other.memory->copy()), ghosts(other.ghosts), at(other.at), dead(other.dead) {}
  state(state&&) = default;
  state(const model_memory& start, const model_program& program)
      : memory(start.copy()), at(program.threads()), dead(program.threads()) {
    for (const auto& word : program.words())
      ghosts.push_back(word.first);
  }

  std::string key() const {
    std::string out;
    memory->append_to(out);
    for (auto value : ghosts)
      append_number(out, value);
    for (std::size_t t = 0; t < at.size(); ++t)
      append_number(out, dead[t] ? UINT32_MAX : at[t]);
    return out;
  }
};

// A state that was reached, with how.
struct reached {
  state now;
  double executions;  // that lead to it
  std::size_t record;
};
struct step_record {
  std::size_t before;  // another record
  step taken;
};

const char* name_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed: return "relaxed";
    case std::memory_order_acquire: return "acquire";
    case std::memory_order_release: return "release";
    default: return "seq_cst";
  }
}

class search {
public:
  search(model_program& program, const model_memory& start) : program_(program), first_(start, program) {
    for (std::uint32_t t = 0; t < program_.threads(); ++t)
      do_ghosts(first_, t);
  }

  findings run() {
    std::vector<reached> level;
    level.push_back({first_, 1, 0});
    records_.push_back({});
    while (!level.empty() && out_.violation.empty()) {
      out_.states += level.size();
      level = next_level(level);
    }
    for (const auto& values : endings_)
      out_.endings.push_back({values});
    return std::move(out_);
  }

private:
  std::vector<reached> next_level(const std::vector<reached>& level) {
    std::vector<reached> next;
    std::unordered_map<std::string, std::size_t> known;
    for (const auto& from : level) {
      if (auto wrong = violation(from.now)) {
        out_.violation = *wrong;
        out_.trace = trace_to(from.record);
        return {};
      }
      auto steps = steps_of(from.now);
      if (steps.empty())
        end(from);
      for (auto taken : steps) {
        auto to = from.now;
        take(to, taken, nullptr);
        auto [at, is_new] = known.try_emplace(to.key(), next.size());
        if (!is_new) {
          next[at->second].executions += from.executions;
          continue;
        }
        records_.push_back({from.record, taken});
        next.push_back({std::move(to), from.executions, records_.size() - 1});
      }
    }
    return next;
  }

  std::vector<step> steps_of(const state& s) const {
    std::vector<step> out;
    for (std::uint32_t t = 0; t < program_.threads(); ++t) {
      for (auto store : s.memory->stores_to_drain(t))
        out.push_back({step::kind::drain, t, store});
      const auto& op = program_.next(t, s.at[t]);
      if (s.dead[t] || op.what == operation::kind::end)
        continue;
      for (std::size_t way = 0; way < ways(s, t, op); ++way)
        out.push_back({step::kind::run, t, way});
      if (program_.mortal(t))
        out.push_back({step::kind::kill, t, 0});
    }
    return out;
  }

  std::size_t ways(const state& s, std::uint32_t thread, const operation& op) const {
    if (op.what != operation::kind::wait_for_end)
      return s.memory->ways(thread, op);
    auto other = op.target;
    bool over = s.dead[other] || program_.next(other, s.at[other]).what == operation::kind::end;
    return over && s.memory->quiet(other);
  }

  // Takes the step; appends what it did to `lines` where there are any.
  void take(state& s, const step& taken, std::vector<std::string>* lines) {
    auto t = taken.thread;
    if (taken.what == step::kind::kill) {
      s.dead[t] = true;
      tell(lines, t, "is killed");
    } else if (taken.what == step::kind::drain) {
      auto [word, value] = s.memory->drain(t, taken.choice);
      tell(lines, t, "  " + program_.words()[word].name + " = " + hex(value) + " reaches memory");
    } else {
      auto op = program_.next(t, s.at[t]);
      std::uint64_t read = 0;
      if (op.what == operation::kind::wait_for_end)
        s.memory->learn_all(t, op.target);
      else
        read = s.memory->perform(t, op, taken.choice);
      s.at[t] = program_.after(t, s.at[t], read);
      tell(lines, t, text_of(op, read));
      do_ghosts(s, t);
    }
  }

  void do_ghosts(state& s, std::uint32_t t) {
    for (;;) {
      auto op = program_.next(t, s.at[t]);
      bool access = op.what == operation::kind::load || op.what == operation::kind::store;
      if (!access || program_.words()[op.target].kind != model_program::word_kind::ghost)
        return;
      if (op.what == operation::kind::store)
        s.ghosts[op.target] = op.value;
      s.at[t] = program_.after(t, s.at[t], op.what == operation::kind::load ? s.ghosts[op.target] : 0);
    }
  }

  std::optional<std::string> violation(const state& s) const {
    if (const auto* fault = s.memory->fault())
      return fault;
    for (std::uint32_t t = 0; t < program_.threads(); ++t)
      if (const auto& op = program_.next(t, s.at[t]); op.what == operation::kind::broken)
        return program_.thread_name(t) + ": " + op.claim;
    return std::nullopt;
  }

  void end(const reached& last) {
    auto values = last.now.ghosts;
    for (std::uint32_t w = 0; w < values.size(); ++w)
      if (program_.words()[w].kind != model_program::word_kind::ghost)
        values[w] = last.now.memory->last(w);
    endings_.insert(std::move(values));
    out_.executions += last.executions;
  }

  std::vector<std::string> trace_to(std::size_t record) {
    std::vector<step> steps;
    for (; record != 0; record = records_[record].before)
      steps.push_back(records_[record].taken);
    std::vector<std::string> lines;
    auto s = first_;
    for (auto taken = steps.rbegin(); taken != steps.rend(); ++taken)
      take(s, *taken, &lines);
    return lines;
  }

  void tell(std::vector<std::string>* lines, std::uint32_t thread, const std::string& what) const {
    if (lines != nullptr)
      lines->push_back(program_.thread_name(thread) + ": " + what);
  }

  static std::string hex(std::uint64_t value) {
    std::string digits;
    do
      digits.insert(digits.begin(), "0123456789abcdef"[value % 16]);
    while ((value /= 16) != 0);
    return "0x" + digits;
  }

  std::string text_of(const operation& op, std::uint64_t read) const {
    using kind = operation::kind;
    if (op.what == kind::wait_for_end)
      return "learns that " + program_.thread_name(op.target) + " has ended";
    auto order = std::string{", "} + name_of(op.order);
    if (op.what == kind::fence)
      return "fence" + order;
    const auto& [word, first, kind_of_word] = program_.words()[op.target];
    if (kind_of_word == model_program::word_kind::plain)
      order.clear();
    if (op.what == kind::load)
      return "reads " + word + ": " + hex(read) + order;
    return (op.what == kind::store ? "stores " : "learns that ") + word + " = " + hex(op.value) + order;
  }

  model_program& program_;
  state first_;
  std::vector<step_record> records_;
  std::set<std::vector<std::uint64_t>> endings_;
  findings out_;
};

}  // namespace

bool findings::some(const std::function<bool(const ending&)>& so) const {
  return std::any_of(endings.begin(), endings.end(), so);
}

findings explore(model_program& program, const model_memory& start) { return search{program, start}.run(); }

}  // namespace maru::test
