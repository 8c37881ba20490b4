#include "python/module/store_pages.hpp"

#include <thread>
#include <utility>

namespace maru::python {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto busy_pause = 5ms;

class store_operation {
public:
  store_operation(client& c, page_book& book, std::span<const std::string_view> keys, std::span<const page_ask> asks,
                  clock::time_point deadline)
      : client_(c),
        book_(book),
        keys_(keys),
        asks_(asks),
        deadline_(deadline),
        answers_{std::vector<stored>(keys.size(), stored::no), {}} {}

  result<store_answers> run() {
    std::vector<page_ref> where;
    where.reserve(asks_.size());
    for (auto& ask : asks_)
      where.push_back(ask.where);
    auto pages = book_.take(where);
    batch taken;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      if (pages[i]) {
        pages[i]->shrink(asks_[i].length);
        taken.add(i, keys_[i], *std::move(pages[i]));
      } else {
        others_.push_back(i);
      }
    }
    auto done = commit(std::move(taken));
    if (done)
      done = ask_for_others();
    if (!done)
      return done.error();
    return std::move(answers_);
  }

private:
  struct batch {
    std::vector<std::size_t> at;
    std::vector<std::string_view> keys;
    std::vector<page_buffer> pages;
    void add(std::size_t i, std::string_view key, page_buffer page) {
      at.push_back(i);
      keys.push_back(key);
      pages.push_back(std::move(page));
    }
  };

  // A page whose first commit is still under way at marud answers `busy`: it is asked again, and in the end left to the
  // client to settle.
  status commit(batch now) {
    while (!now.at.empty()) {
      std::vector<page_grant> grants;
      grants.reserve(now.at.size());
      for (auto& page : now.pages)
        grants.push_back(page.grant());
      auto codes = client_.commit_batch(now.keys, now.pages);
      if (!codes)
        went_wrong(codes.error().message);
      batch busy;
      std::vector<page_book::outcome> outcomes;
      outcomes.reserve(now.at.size());
      for (std::size_t k = 0; k < now.at.size(); ++k) {
        // After an error as a whole the pages that are still ours were not sent, and nobody knows of the others.
        auto code = codes ? (*codes)[k] : now.pages[k] ? ec::not_granted : ec::timeout;
        if (code == ec::busy)
          busy.add(now.at[k], now.keys[k], std::move(now.pages[k]));
        else
          outcomes.push_back(outcome_of(now.at[k], grants[k], code));
      }
      book_.settle(outcomes);
      if (!codes && codes.code() == ec::session_over)
        return codes.error();
      if (busy.at.empty())
        break;
      if (clock::now() + busy_pause >= deadline_) {
        leave(busy);
        break;
      }
      now = std::move(busy);
      std::this_thread::sleep_for(busy_pause);
    }
    return {};
  }

  page_book::outcome outcome_of(std::size_t i, const page_grant& grant, ec code) {
    switch (code) {
      case ec::ok:
        answers_.each[i] = stored::yes;
        return {grant, page_book::fate::committed, keys_[i], asks_[i].length};
      case ec::timeout:
        answers_.each[i] = stored::doubt;
        return {grant, page_book::fate::doubtful, keys_[i], asks_[i].length};
      case ec::exists: answers_.each[i] = stored::yes; break;
      case ec::memory_failed: went_wrong("the memory of a page failed, what was written to it is lost"); break;
      default: went_wrong("marud answered " + std::string{to_string(code)});
    }
    return {grant, page_book::fate::dropped, {}, 0};
  }

  void went_wrong(const std::string& why) {
    if (answers_.trouble.empty())
      answers_.trouble = why;
  }

  // Nobody waits for these any more: the client settles them.
  void leave(batch& busy) {
    std::vector<page_book::outcome> outcomes;
    for (std::size_t k = 0; k < busy.at.size(); ++k)
      outcomes.push_back(outcome_of(busy.at[k], busy.pages[k].grant(), ec::timeout));
    went_wrong("marud is still at an earlier commit of the page");
    book_.settle(outcomes);
    (void)client_.commit_async(busy.keys, busy.pages);
  }

  status ask_for_others() {
    if (others_.empty())
      return {};
    std::vector<std::string_view> keys;
    std::vector<bool> known;  // whether the page's state tells how its own commit ended
    for (auto i : others_) {
      keys.push_back(keys_[i]);
      auto state = book_.settled(asks_[i].where, deadline_);
      known.push_back(state != page_book::state::doubtful && state != page_book::state::storing);
    }
    auto there = client_.exists(keys);
    if (!there && there.code() == ec::session_over)
      return there.error();
    for (std::size_t k = 0; k < others_.size(); ++k) {
      if (there && (*there)[k]) {
        answers_.each[others_[k]] = stored::yes;
        continue;
      }
      answers_.each[others_[k]] = there && known[k] ? stored::no : stored::doubt;
      went_wrong(there ? "the page is not open for writing, and the key is not there" : there.error().message);
    }
    return {};
  }

  client& client_;
  page_book& book_;
  std::span<const std::string_view> keys_;
  std::span<const page_ask> asks_;
  clock::time_point deadline_;
  store_answers answers_;
  std::vector<std::size_t> others_;
};

}  // namespace

result<store_answers> store_pages(client& c, page_book& book, std::span<const std::string_view> keys,
                                  std::span<const page_ask> asks, std::chrono::milliseconds timeout) {
  return store_operation{c, book, keys, asks, clock::now() + timeout}.run();
}

}  // namespace maru::python
