#include "net/client.hpp"

#include <utility>

#include "net/client_impl.hpp"
#include "net/operations.hpp"

namespace maru {

// -- handles

page_buffer::page_buffer(page_buffer&& other) noexcept
    : line_(std::move(other.line_)),
      grant_(other.grant_),
      bytes_(std::exchange(other.bytes_, {})),
      filled_(other.filled_),
      sum_(other.sum_) {}

page_buffer& page_buffer::operator=(page_buffer&& other) noexcept {
  if (this != &other) {
    net::client_impl::let_go(*this);
    line_ = std::move(other.line_);
    grant_ = other.grant_;
    bytes_ = std::exchange(other.bytes_, {});
    filled_ = other.filled_;
    sum_ = other.sum_;
  }
  return *this;
}

void page_buffer::shrink(std::size_t size) {
  if (size == bytes_.size())
    return;
  net::client_impl::publish(*this, size);  // the next user of the page must not find what is cut off in our cache
  bytes_ = bytes_.first(size);
  sum_ = 0;
}

void page_buffer::fill(std::span<const std::byte> chunk) { net::client_impl::fill(*this, chunk); }

page_buffer::~page_buffer() { net::client_impl::let_go(*this); }

view::view(view&& other) noexcept
    : line_(std::move(other.line_)),
      hash_(other.hash_),
      where_(other.where_),
      held_(other.held_),
      slot_(other.slot_),
      alone_(other.alone_),
      bytes_(std::exchange(other.bytes_, {})) {}

view& view::operator=(view&& other) noexcept {
  if (this != &other) {
    net::client_impl::let_go(*this);
    line_ = std::move(other.line_);
    hash_ = other.hash_;
    where_ = other.where_;
    held_ = other.held_;
    slot_ = other.slot_;
    alone_ = other.alone_;
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

view::~view() { net::client_impl::let_go(*this); }

bool view::intact() const { return net::client_impl::intact(*this); }

template <class T>
future<T>::future() = default;
template <class T>
future<T>::future(std::unique_ptr<net::pending<T>> p) : pending_(std::move(p)) {}
template <class T>
future<T>::future(future&&) noexcept = default;
template <class T>
future<T>& future<T>::operator=(future&&) noexcept = default;
template <class T>
future<T>::~future() = default;

template <class T>
bool future<T>::ready() const {
  return !pending_ || pending_->ready();
}

template <class T>
result<T> future<T>::get() {
  auto p = std::move(pending_);
  if (!p)
    return {ec::invalid, "failed to get an answer: the future is empty, or was asked before"};
  return p->get();
}

template class future<lookup_result>;
template class future<std::vector<bool>>;
template class future<std::vector<ec>>;
template class future<std::vector<view>>;

// -- client

result<std::shared_ptr<client>> client::open(client_options options) {
  return net::client_impl::open_client(std::move(options), net::map_pool);
}

client::~client() { close(); }
void client::close() { impl_->close(); }
client_info client::info() const { return impl_->info(); }
bool client::connected() const { return !impl_->wire().forked() && impl_->wire().now() != nullptr; }

result<page_buffer> client::alloc(std::size_t size) { return impl_->alloc(size); }

result<std::vector<page_buffer>> client::alloc_batch(std::size_t n, std::size_t size) { return impl_->alloc(n, size); }

status client::commit(std::string_view key, page_buffer& page) {
  auto codes = net::start_commit(impl_, {&key, 1}, {&page, 1}, true)->get();
  if (!codes)
    return codes.error();
  if (codes->front() == ec::ok)
    return {};
  return {codes->front(), "failed to commit a key: " + std::string{to_string(codes->front())}};
}

result<std::vector<ec>> client::commit_batch(std::span<const std::string_view> keys, std::span<page_buffer> pages) {
  return net::start_commit(impl_, keys, pages, true)->get();
}

future<std::vector<ec>> client::commit_async(std::span<const std::string_view> keys, std::span<page_buffer> pages) {
  return future<std::vector<ec>>{net::start_commit(impl_, keys, pages, false)};
}

status client::store(std::string_view key, std::span<const std::byte> bytes) {
  auto page = alloc(bytes.size());
  if (!page)
    return page.error();
  page->fill(bytes);
  return commit(key, *page);
}

result<shown_region> client::show_region(std::size_t pages) { return impl_->show_region(pages); }
result<pool_usage> client::usage(bool totals) { return impl_->usage(totals); }
result<region_info> client::region(region_id id) { return impl_->region(id); }
result<region_memory> client::region_bytes(region_id id, std::uint64_t first, std::uint64_t pages) {
  return impl_->region_bytes(id, first, pages);
}

result<lookup_result> client::lookup(std::span<const std::string_view> keys, lookup_flags flags) {
  return net::start_lookup(impl_, keys, flags)->get();
}

future<lookup_result> client::lookup_async(std::span<const std::string_view> keys, lookup_flags flags) {
  return future<lookup_result>{net::start_lookup(impl_, keys, flags)};
}

result<std::vector<bool>> client::exists(std::span<const std::string_view> keys) {
  return net::start_exists(impl_, keys)->get();
}

future<std::vector<bool>> client::exists_async(std::span<const std::string_view> keys) {
  return future<std::vector<bool>>{net::start_exists(impl_, keys)};
}

result<std::vector<bool>> client::pin(std::span<const std::string_view> keys, bool prefix_stop) {
  return net::start_pin(impl_, keys, prefix_stop)->get();
}

future<std::vector<bool>> client::pin_async(std::span<const std::string_view> keys, bool prefix_stop) {
  return future<std::vector<bool>>{net::start_pin(impl_, keys, prefix_stop)};
}

result<std::vector<bool>> client::unpin(std::span<const std::string_view> keys) {
  return net::start_unpin(impl_, keys)->get();
}

future<std::vector<bool>> client::unpin_async(std::span<const std::string_view> keys) {
  return future<std::vector<bool>>{net::start_unpin(impl_, keys)};
}

status client::unpin_later(std::span<const std::string_view> keys) { return net::queue_unpin(impl_, keys); }

result<std::span<const std::byte>> client::bytes(const location& where) { return impl_->bytes(where); }

result<view> client::retrieve(std::string_view key) {
  if (auto found = net::retrieve_locally(impl_, key))
    return *std::move(found);
  auto views = net::start_retrieve(impl_, {&key, 1}, false, true)->get();
  if (!views)
    return views.error();
  if (!views->front())
    return {ec::missing, "failed to retrieve a key: it is not there"};
  return std::move(views->front());
}

result<std::vector<view>> client::retrieve_batch(std::span<const std::string_view> keys, bool prefix_stop) {
  return net::start_retrieve(impl_, keys, prefix_stop)->get();
}

future<std::vector<view>> client::retrieve_async(std::span<const std::string_view> keys, bool prefix_stop) {
  return future<std::vector<view>>{net::start_retrieve(impl_, keys, prefix_stop)};
}

result<std::vector<ec>> client::remove(std::span<const std::string_view> keys) {
  return net::start_remove(impl_, keys)->get();
}

future<std::vector<ec>> client::remove_async(std::span<const std::string_view> keys) {
  return future<std::vector<ec>>{net::start_remove(impl_, keys)};
}

}  // namespace maru
