#include "app/bench/trace.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "app/bench/random.hpp"

namespace maru::bench {

namespace {

error bad_line(std::size_t number, const std::string& cause) {
  return {ec::invalid, "failed to read trace line " + std::to_string(number) + ": " + cause};
}

// A field that must be a whole number, zero or more. Empty text: it is.
std::string read_number(const nlohmann::json& object, const char* name, std::uint64_t& out) {
  auto field = object.find(name);
  if (field == object.end())
    return std::string{"no \""} + name + "\"";
  if (!field->is_number_unsigned())
    return std::string{"\""} + name + "\" is not a whole number";
  out = field->get<std::uint64_t>();
  return {};
}

}  // namespace

std::size_t trace::block_count() const {
  std::size_t n = 0;
  for (const auto& r : requests)
    n += r.blocks.size();
  return n;
}

std::size_t trace::distinct_blocks() const {
  std::unordered_set<std::uint64_t> seen;
  for (const auto& r : requests)
    seen.insert(r.blocks.begin(), r.blocks.end());
  return seen.size();
}

std::size_t trace::longest() const {
  std::size_t n = 0;
  for (const auto& r : requests)
    n = std::max(n, r.blocks.size());
  return n;
}

result<request> parse_request(std::string_view line, std::size_t line_number) {
  if (line.size() > trace_line_bytes_max)
    return bad_line(line_number, "longer than " + std::to_string(trace_line_bytes_max) + " bytes");
  auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object())
    return bad_line(line_number, "not a JSON object");
  request out;
  const std::pair<const char*, std::uint64_t*> numbers[] = {
    {"timestamp", &out.timestamp_ms}, {"input_length", &out.input_tokens}, {"output_length", &out.output_tokens}};
  for (auto [name, value] : numbers)
    if (auto cause = read_number(object, name, *value); !cause.empty())
      return bad_line(line_number, cause);
  auto ids = object.find("hash_ids");
  if (ids == object.end() || !ids->is_array())
    return bad_line(line_number, "no list \"hash_ids\"");
  if (ids->size() > trace_blocks_max)
    return bad_line(line_number, "more than " + std::to_string(trace_blocks_max) + " hash_ids");
  out.blocks.reserve(ids->size());
  for (const auto& id : *ids) {
    if (!id.is_number_unsigned())
      return bad_line(line_number, "a hash id is not a whole number");
    out.blocks.push_back(id.get<std::uint64_t>());
  }
  return out;
}

result<trace> read_trace(const std::string& path, std::size_t requests_max) {
  std::ifstream file(path);
  if (!file)
    return error{ec::missing, errno_error("open trace " + path, errno).message};
  if (requests_max == 0 || requests_max > trace_requests_max)
    requests_max = trace_requests_max;
  trace out;
  std::string line;
  for (std::size_t number = 1; out.requests.size() < requests_max && std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == line.npos)
      continue;
    auto r = parse_request(line, number);
    if (!r)
      return error{r.code(), r.error().message + " (" + path + ")"};
    out.requests.push_back(*std::move(r));
  }
  if (file.bad())
    return errno_error("read trace " + path, errno);
  if (out.requests.empty())
    return error{ec::invalid, "failed to read trace " + path + ": it has no requests"};
  return out;
}

namespace {

struct conversation {
  std::vector<std::uint64_t> full;  // ids of the full blocks so far
  std::uint64_t tokens = 0;         // said so far
};

class generator {
public:
  explicit generator(const conversation_options& options)
      : options_(options), random_(options.seed), open_(std::max<std::size_t>(options.open_conversations, 1)) {
    prompts_.resize(std::max<std::size_t>(options.system_prompts, 1));
    for (auto& prompt : prompts_)
      for (std::size_t i = 0; i < options.system_blocks; ++i)
        prompt.push_back(next_id_++);
    for (auto& c : open_)
      start(c);
  }

  request next() {
    auto& c = open_[random_.below(open_.size())];
    request r;
    now_ms_ += random_.exponential(options_.gap_ms_mean);
    r.timestamp_ms = static_cast<std::uint64_t>(now_ms_);
    c.tokens += tokens(options_.question_tokens_mean);
    extend(c);
    r.input_tokens = c.tokens;
    r.blocks = c.full;
    if (c.tokens % block_tokens != 0)
      r.blocks.push_back(next_id_++);
    r.output_tokens = tokens(options_.answer_tokens_mean);
    c.tokens += r.output_tokens;
    if (c.tokens >= options_.prompt_tokens_max || random_.fraction() * options_.turns_mean < 1)
      start(c);
    return r;
  }

private:
  std::uint64_t tokens(double mean) { return 1 + static_cast<std::uint64_t>(random_.exponential(mean)); }

  void start(conversation& c) {
    std::size_t which = 0;
    while (which + 1 < prompts_.size() && random_.below(2) == 0)
      ++which;
    c.full = prompts_[which];
    c.tokens = c.full.size() * block_tokens;
  }

  void extend(conversation& c) {
    while (c.full.size() < c.tokens / block_tokens)
      c.full.push_back(next_id_++);
  }

  const conversation_options& options_;
  random_source random_;
  std::vector<std::vector<std::uint64_t>> prompts_;
  std::vector<conversation> open_;
  std::uint64_t next_id_ = 0;
  double now_ms_ = 0;
};

}  // namespace

trace generate_conversations(const conversation_options& options) {
  generator g(options);
  trace out;
  out.requests.reserve(options.requests);
  while (out.requests.size() < options.requests)
    out.requests.push_back(g.next());
  return out;
}

}  // namespace maru::bench
