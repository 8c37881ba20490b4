#include "net/local_reads.hpp"

#include <algorithm>
#include <numeric>

#include "net/session.hpp"

namespace maru::net {

namespace {

constexpr std::size_t keys_ahead = 8;  // whose buckets are on their way

class reader {
public:
  reader(const session_life& life, std::span<const key_hash> hashes, holding takes, bool counts)
      : pool_(*life.local), holds_(*life.holds), hashes_(hashes), takes_(takes), is_use_(counts) {
    out_.items.resize(hashes.size());
    if (takes != holding::nothing)
      out_.pins.resize(hashes.size());
  }

  local_answers run(bool prefix_stop) {
    bool pins = takes_ != holding::nothing;
    if (pins && !holds_.reserve(hashes_.size())) {
      out_.too_many = true;
      return std::move(out_);
    }
    if (takes_ == holding::view)
      holds_.table()->log_request();
    for (std::size_t i = 0; i < std::min(hashes_.size(), keys_ahead); ++i)
      pool_.prefetch(hashes_[i]);
    for (std::size_t i = 0; i < hashes_.size(); ++i) {
      if (i + keys_ahead < hashes_.size())
        pool_.prefetch(hashes_[i + keys_ahead]);
      auto seen = pins ? pin(i) : look(i);
      counts_.damaged += seen == cxl::sight::damaged ? 1 : 0;
      bool hit = seen == cxl::sight::hit, miss = seen == cxl::sight::miss;
      counts_.hits += hit ? 1 : 0;
      if (!hit && !miss)
        out_.open.push_back(static_cast<std::uint32_t>(i));
      if (!hit && prefix_stop) {
        for (auto rest = i + 1; !miss && rest < hashes_.size(); ++rest)
          out_.open.push_back(static_cast<std::uint32_t>(rest));
        break;
      }
    }
    if (pins)
      holds_.release(hashes_.size() - counts_.hits);
    counts_.asked = out_.open.size();
    counts_.misses = hashes_.size() - counts_.hits - counts_.asked;
    if (!is_use_)
      counts_.hits = counts_.misses = 0;
    holds_.table()->count(counts_);
    if (!is_use_)
      return std::move(out_);
    // A prefix cache cannot use a block whose predecessor is gone: the first key counts as used last.
    std::reverse(used_.begin(), used_.end());
    holds_.table()->log_use(used_);
    return std::move(out_);
  }

private:
  cxl::sight look(std::size_t i) {
    std::uint64_t slot = 0;
    auto seen = pool_.look(hashes_[i], out_.items[i].where, slot);
    if (seen == cxl::sight::hit) {
      out_.items[i].code = ec::ok;
      used_.push_back(slot);
    }
    return seen;
  }

  cxl::sight pin(std::size_t i) {
    auto& pinned = out_.pins[i];
    auto seen = pool_.pin(hashes_[i], takes_ == holding::view, *holds_.table(), out_.items[i].where, pinned);
    if (seen != cxl::sight::hit)
      return seen;
    out_.items[i].code = ec::ok;
    if (takes_ == holding::pin)
      holds_.add_key(hashes_[i], pinned.held, pinned.slot);
    return seen;
  }

  const local_pool& pool_;
  session_holds& holds_;
  std::span<const key_hash> hashes_;
  holding takes_;
  bool is_use_;
  local_answers out_;
  cxl::local_counts counts_;
  std::vector<std::uint64_t> used_;
};

bool may_read(const session_life& life) { return life.local && life.local->is_open(); }

local_answers all_open(std::size_t n, holding takes) {
  local_answers all;
  all.items.resize(n);
  all.pins.resize(takes == holding::nothing ? 0 : n);
  all.open.resize(n);
  std::iota(all.open.begin(), all.open.end(), 0);
  return all;
}

}  // namespace

local_answers read_locally(const session_life& life, std::span<const key_hash> hashes, holding takes,
                           bool prefix_stop) {
  return may_read(life) ? reader{life, hashes, takes, true}.run(prefix_stop) : all_open(hashes.size(), takes);
}

local_answers exist_locally(const session_life& life, std::span<const key_hash> hashes) {
  constexpr auto takes = holding::nothing;
  return may_read(life) ? reader{life, hashes, takes, false}.run(false) : all_open(hashes.size(), takes);
}

void undo(const session_life& life, std::span<const key_hash> hashes, holding takes, const local_answers& answers) {
  for (std::size_t i = 0; i < answers.pins.size(); ++i) {
    if (answers.pins[i].held == cxl::held_pages::none)
      continue;
    if (takes == holding::pin)
      life.holds->drop_key(hashes[i]);
    else
      life.holds->drop_view(answers.pins[i].held, answers.pins[i].slot, false);
  }
}

std::vector<bool> unpin_locally(const session_life& life, std::span<const key_hash> hashes) {
  std::vector<bool> ended(hashes.size());
  if (!life.holds)
    return ended;
  std::vector<std::uint64_t> used;
  for (std::size_t i = 0; i < hashes.size(); ++i)
    if (auto slot = life.holds->drop_key(hashes[i])) {
      ended[i] = true;
      used.push_back(*slot);
    }
  std::reverse(used.begin(), used.end());  // the first one counts as used last, as in a lookup
  life.holds->table()->log_use(used);
  return ended;
}

}  // namespace maru::net
