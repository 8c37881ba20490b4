#include "tests/crash/shim_worker.hpp"
#include "tests/support/must.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "net/client_impl.hpp"
#include "tests/system/content.hpp"

namespace maru::test {

namespace {

constexpr std::size_t chunk_max = 4096, piece_max = 1200, lines_disturbed = 60;

// Any size up to a page, so that last lines are cut anywhere; the same for a key every time.
std::string chunk_of(const std::string& key) {
  return content_of(key, 1 + std::hash<std::string_view>{}(key) % chunk_max);
}

}  // namespace

tally& tally::operator+=(const tally& other) {
  if (first_wrong.empty())
    first_wrong = other.first_wrong;
  wrong += other.wrong;
  foreign += other.foreign;
  commits += other.commits;
  abandoned += other.abandoned;
  removed += other.removed;
  misses += other.misses;
  return *this;
}

// The host's visibility as the client has it: with a mistake, or without.
class shim_worker::flawed final : public cxl::visibility {
public:
  flawed(std::shared_ptr<incoherent_host> host, mistake wrong) : host_(std::move(host)), wrong_(wrong) {}

  void publish(std::span<const std::byte> bytes) const override {
    bool left_out = (now == place::commit && wrong_ == mistake::no_publish_at_commit)
                    || (now == place::commit && wrong_ == mistake::published_before_the_last_store)
                    || (now == place::abandon && wrong_ == mistake::no_publish_of_abandoned_pages)
                    || (now == place::shrink && wrong_ == mistake::no_publish_of_what_is_cut_off);
    if (left_out)
      return;
    if (wrong_ == mistake::last_line_not_published)
      bytes = bytes.first(last_line_of(bytes));
    host_->publish(bytes);
  }

  void copy(std::span<std::byte> to, std::span<const std::byte> from) const override {
    host_->store(to, from);
    if (wrong_ == mistake::copy_finished_after_the_commit) {
      finish_late();
      late_ = to;
    } else if (wrong_ != mistake::copy_not_finished) {
      host_->publish(wrong_ == mistake::last_line_of_copy_cached ? to.first(last_line_of(to)) : to);
    }
  }
  void finish_late() const { host_->publish(std::exchange(late_, {})); }

  void acquire(std::span<const std::byte> bytes) const override {
    bool left_out = (now == place::retrieve && wrong_ == mistake::no_acquire_in_retrieve)
                    || (now == place::bytes && wrong_ == mistake::no_acquire_in_bytes)
                    || wrong_ == mistake::acquired_after_the_read;
    if (!left_out)
      host_->acquire(bytes);
  }

  bool has(mistake m) const { return wrong_ == m; }
  place now = place::elsewhere;

private:
  // Where the last line of pages' bytes begins.
  static std::size_t last_line_of(std::span<const std::byte> bytes) {
    return bytes.size() - (bytes.size() - 1) % incoherent_memory::line_bytes - 1;
  }

  std::shared_ptr<incoherent_host> host_;
  mistake wrong_;
  mutable std::span<const std::byte> late_;
};

shim_worker::shim_worker(std::string server, std::shared_ptr<incoherent_memory> memory, std::uint64_t seed,
                         std::string key_prefix, mistake wrong)
    : server_(std::move(server)),
      prefix_(std::move(key_prefix)),
      host_(std::make_shared<incoherent_host>(std::move(memory), seed)),
      visible_(std::make_shared<flawed>(host_, wrong)),
      random_(seed + 1) {
  open();
}

shim_worker::~shim_worker() = default;

// net::map_pool with another memory.
void shim_worker::open() {
  auto map = [host = host_, visible = visible_](const client_options&, const net::hello_reply& reply) {
    if (reply.visibility != static_cast<std::uint8_t>(cxl::coherence::software))
      throw std::runtime_error{"marud has not told that its pool is of software visibility"};
    auto pool = std::make_shared<net::mapped_pool>();
    pool->id = reply.pool;
    pool->path = reply.devices.front().path;
    pool->devices = std::make_shared<net::pool_devices>(host->device());
    pool->regions = std::make_shared<net::region_map>(pool->devices);
    pool->visible = visible;
    return result<std::shared_ptr<const net::mapped_pool>>{pool};
  };
  client_options o;
  o.server = server_;
  o.chunk_bytes = chunk_max;
  o.timeout = std::chrono::seconds{20};
  o.grant_batch = 2;
  o.fetch_ahead = false;  // fetches on a thread of its own would make seeds less telling
  client_ = must(net::client_impl::open_client(std::move(o), map));
}

void shim_worker::step() {
  host_->disturb(lines_disturbed);
  if (roll(8) == 0)
    visible_->finish_late();
  if (auto what = roll(100); what < 10)
    put_copy();
  else if (what < 50)
    page_ ? write_on() : begin_put();
  else if (what < 91)
    reading_.empty() ? begin_read() : read_on();
  else if (what < 96)
    remove();
  else
    reopen();
}

// A process of this host ends and another one begins: its pages go to whoever asks next, the host's cache stays.
void shim_worker::reopen() {
  end_read();
  visible_->now = place::abandon;
  page_ = {};
  visible_->now = place::elsewhere;
  client_.reset();
  open();
}

// -- puts

// The copy that the client makes of a caller's bytes.
void shim_worker::put_copy() {
  auto key = some_key();
  auto chunk = chunk_of(key);
  auto done = client_->store(key, std::as_bytes(std::span{chunk}));
  if (done.code() != ec::out_of_memory && done.code() != ec::busy)
    count_commit(key, done);
}

// In place, in a page that may be larger than the chunk.
void shim_worker::begin_put() {
  put_key_ = some_key();
  put_bytes_ = chunk_of(put_key_);
  written_ = 0;
  auto page = client_->alloc(roll(4) > 0 ? chunk_max : put_bytes_.size());
  if (page)
    page_ = *std::move(page);
  else if (page.code() != ec::out_of_memory && page.code() != ec::busy)
    throw std::runtime_error{to_string(page.error())};
}

void shim_worker::write_on() {
  auto n = std::min(1 + roll(piece_max), put_bytes_.size() - written_);
  bool give_up = roll(20) == 0;
  if (visible_->has(mistake::published_before_the_last_store) && written_ + n == put_bytes_.size())
    host_->publish(page_.bytes());
  host_->store(page_.bytes().subspan(written_), std::as_bytes(std::span{put_bytes_}).subspan(written_, n));
  written_ += n;
  host_->disturb(lines_disturbed);
  if (give_up) {
    visible_->now = place::abandon;
    page_ = {};
    visible_->now = place::elsewhere;
    ++seen_.abandoned;
  } else if (written_ == put_bytes_.size()) {
    commit();
  }
}

void shim_worker::commit() {
  cut_off();
  visible_->now = place::commit;
  auto done = client_->commit(put_key_, page_);
  visible_->now = place::abandon;
  page_ = {};  // the key was there already
  visible_->now = place::elsewhere;
  count_commit(put_key_, done);
}

// What is behind the chunk was written to as well, with nothing of use.
void shim_worker::cut_off() {
  if (auto behind = page_.bytes().subspan(put_bytes_.size()); !behind.empty())
    host_->store(behind, std::vector<std::byte>(behind.size(), std::byte{0xee}));
  visible_->now = place::shrink;
  page_.shrink(put_bytes_.size());
  visible_->now = place::elsewhere;
}

void shim_worker::count_commit(const std::string& key, const status& done) {
  if (!done && done.code() != ec::exists)
    throw std::runtime_error{to_string(done.error())};
  if (done)
    mine_.insert(key);
  else
    mine_.erase(key);
  seen_.commits += done ? 1 : 0;
}

// -- reads

void shim_worker::begin_read() {
  read_key_ = some_key();
  std::vector<std::string_view> key = {read_key_};
  if (roll(2) == 0) {
    visible_->now = place::retrieve;
    view_ = std::move(must(client_->retrieve_batch(key)).front());
    reading_ = view_.bytes();
  } else if (auto where = must(client_->lookup(key, {.pin = true})).front()) {
    visible_->now = place::bytes;
    reading_ = must(client_->bytes(*where));
  }
  visible_->now = place::elsewhere;
  seen_.misses += reading_.empty() ? 1 : 0;
  read_bytes_ = chunk_of(read_key_);
  read_ = 0;
}

void shim_worker::read_on() {
  auto n = std::min(1 + roll(piece_max), reading_.size() - read_);
  bool right =
    reading_.size() == read_bytes_.size() && std::memcmp(reading_.data() + read_, read_bytes_.data() + read_, n) == 0;
  if (!right && seen_.wrong++ == 0)
    seen_.first_wrong = read_key_ + " at " + std::to_string(read_) + " of " + std::to_string(reading_.size());
  seen_.foreign += mine_.contains(read_key_) ? 0 : 1;
  read_ += n;
  if (read_ == reading_.size())
    end_read();
}

void shim_worker::end_read() {
  if (reading_.empty())
    return;
  if (visible_->has(mistake::acquired_after_the_read))
    host_->acquire(reading_);
  reading_ = {};
  if (view_) {
    view_ = {};
    return;
  }
  std::vector<std::string_view> key = {read_key_};
  must(client_->unpin(key));
}

void shim_worker::remove() {
  auto name = some_key();
  std::vector<std::string_view> key = {name};
  seen_.removed += must(client_->remove(key)).front() == ec::ok ? 1 : 0;
}

}  // namespace maru::test
