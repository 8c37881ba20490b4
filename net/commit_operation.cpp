#include <optional>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "cxl/fault_guard.hpp"
#include "net/operations.hpp"
#include "net/request_checks.hpp"

namespace maru::net {

namespace {

// A blocking call waits for its answer next, so its items may wait for others'. A future may be left alone for long.
struct joined {
  std::size_t items;
  commit_queue::pace pace;
  std::shared_ptr<call> operator()(const session& s, const commit_request& request) const {
    return s.commits->send(request, items, pace);
  }
};

class commit_operation final : public pending<std::vector<ec>> {
public:
  commit_operation(impl_ptr impl, std::vector<ec> codes, std::span<page_buffer> pages, bool hand_back,
                   std::vector<std::size_t> sent, commit_request request, std::uint64_t tenure)
      : impl_(std::move(impl)), codes_(std::move(codes)), sent_(std::move(sent)), tenure_(tenure) {
    if (hand_back)
      return_to_ = pages;
    for (auto& page : pages)
      pages_.push_back(std::move(page));
    for (auto i : sent_)
      grants_.push_back(pages_[i].grant());
    if (!sent_.empty())
      ask_.emplace(impl_->wire(), "commit keys", std::move(request), impl_->deadline(), tenure_,
                   joined{sent_.size(), hand_back ? commit_queue::pace::may_wait : commit_queue::pace::at_once});
  }
  ~commit_operation() override {
    if (!finished_ && ask_ && ask_->used() && !impl_->wire().forked())
      leave_in_doubt();
  }
  bool ready() override { return !ask_ || ask_->ready(); }

  result<std::vector<ec>> get() override {
    finished_ = true;
    auto out = settle();
    for (std::size_t i = 0; i < return_to_.size(); ++i)
      return_to_[i] = std::move(pages_[i]);
    pages_.clear();
    return out;
  }

private:
  result<std::vector<ec>> settle() {
    if (!ask_)
      return codes_;
    auto reply = ask_->finish();
    if (!reply) {
      if (reply.code() == ec::gone && !ask_->in_doubt())
        return with_codes(std::vector<ec>(sent_.size(), ec::gone));
      if (ask_->in_doubt())
        leave_in_doubt();
      if (reply.code() == ec::gone)
        return {ec::unavailable, failure("commit keys", "the session ended before the answer came")};
      return reply.error();
    }
    auto codes = decode_codes(reply->codes);
    if (!codes || codes->size() != sent_.size()) {
      // Answered, but how is not known: out of use for good.
      codes.emplace(sent_.size(), ec::gone);
      (void)with_codes(*codes);
      return nonsense("commit keys");
    }
    return with_codes(*codes);
  }

  std::vector<ec> with_codes(std::span<const ec> codes) {
    impl_->held().settle(tenure_, grants_, codes);
    for (std::size_t k = 0; k < sent_.size(); ++k) {
      codes_[sent_[k]] = codes[k];
      if (codes[k] == ec::ok)
        client_impl::empty(pages_[sent_[k]]);
    }
    return codes_;
  }

  // The pages must not be written again before the outcome is known: the handles lose them.
  void leave_in_doubt() {
    impl_->held().doubt(tenure_, grants_);
    for (auto i : sent_)
      client_impl::empty(pages_[i]);
    doubtful_commit commit{ask_->request(), grants_, tenure_};
    auto again = commit;
    bool to_come =
      ask_->abandon([impl = impl_.get(), commit = std::move(commit)](outcome& o) { impl->settle_late(commit, o); });
    if (!to_come) {
      impl_->held().resend(std::move(again));
      impl_->wake();
    }
  }

  impl_ptr impl_;
  std::vector<ec> codes_;
  std::vector<page_buffer> pages_;
  std::span<page_buffer> return_to_;
  std::vector<std::size_t> sent_;   // the items that marud is asked for
  std::vector<page_grant> grants_;  // theirs
  std::uint64_t tenure_;
  std::optional<exchange<commit_request, joined>> ask_;
  bool finished_ = false;
};

}  // namespace

pending_ptr<std::vector<ec>> start_commit(const impl_ptr& impl, key_list keys, std::span<page_buffer> pages,
                                          bool hand_back) {
  constexpr auto what = "commit keys";
  if (auto open = impl->open_for_calls(); !open)
    return answered<std::vector<ec>>(open.error());
  if (keys.size() != pages.size())
    return answered<std::vector<ec>>({ec::invalid, failure(what, "as many pages are needed as keys")});
  if (auto fits = check_batch(what, keys.size()); !fits)
    return answered<std::vector<ec>>(fits.error());
  auto tenure = impl->held().tenure();
  auto s = impl->wire().latest();
  bool sums = s && s->life->checksums != payload_checksums::off;
  std::vector<ec> codes(keys.size());
  std::vector<std::size_t> sent;
  std::vector<commit_item> items;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    codes[i] = check_key(keys[i]);
    if (codes[i] == ec::ok && !impl->owns(pages[i]))
      codes[i] = ec::not_granted;
    auto* life = client_impl::life_of(pages[i]);
    if (codes[i] == ec::ok && (life->tenure != tenure || !impl->held().holds(tenure, pages[i].grant())))
      codes[i] = ec::gone;
    if (codes[i] != ec::ok)
      continue;
    client_impl::publish(pages[i]);
    auto& grant = pages[i].grant();
    auto sum = sums ? client_impl::checksum_of(pages[i]) : 0;
    if (cxl::faulted(pages[i].bytes())) {  // after the last touch: what the page has now must not get a key
      codes[i] = ec::memory_failed;
      impl->give_up(pages[i]);
      continue;
    }
    items.push_back({keys[i], {grant.page, static_cast<std::uint32_t>(pages[i].bytes().size()), grant.gen, sum}});
    sent.push_back(i);
    bytes += keys[i].size();
  }
  commit_request request{encode_commits(items)};
  if (request.items.size() > bounds::message_bytes_max)
    return answered<std::vector<ec>>({ec::too_large, failure(what, std::to_string(bytes)
                                                                     + " bytes of keys are more "
                                                                       "than a message takes")});
  return std::make_unique<commit_operation>(impl, std::move(codes), pages, hand_back, std::move(sent),
                                            std::move(request), tenure);
}

}  // namespace maru::net
