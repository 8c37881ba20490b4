// A client's operations. Each exists once, as a pending answer: the blocking forms wait for it at once.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "net/client_impl.hpp"
#include "net/pending.hpp"

namespace maru::net {

using impl_ptr = std::shared_ptr<client_impl>;
using key_list = std::span<const std::string_view>;
template <class T>
using pending_ptr = std::unique_ptr<pending<T>>;

// All send before they return, where there is a connection (a commit with `hand_back` may wait for others, see
// commit_queue.hpp); bad keys and batches are refused without sending.
pending_ptr<lookup_result> start_lookup(const impl_ptr& impl, key_list keys, lookup_flags flags);
pending_ptr<std::vector<bool>> start_pin(const impl_ptr& impl, key_list keys, bool prefix_stop);
// `failed_is_error`: a chunk whose memory failed is an error of the whole call, else a miss.
pending_ptr<std::vector<view>> start_retrieve(const impl_ptr& impl, key_list keys, bool prefix_stop,
                                              bool failed_is_error = false);
// A view of one key with nothing in between, or that it is missing; empty where it takes more than the pool itself, or the
// key is none: then start_retrieve knows what to do.
std::optional<result<view>> retrieve_locally(const impl_ptr& impl, std::string_view key);
pending_ptr<std::vector<bool>> start_exists(const impl_ptr& impl, key_list keys);
pending_ptr<std::vector<bool>> start_unpin(const impl_ptr& impl, key_list keys);
pending_ptr<std::vector<ec>> start_remove(const impl_ptr& impl, key_list keys);

// Takes the pins out of the book and leaves the message to the housekeeping thread.
status queue_unpin(const impl_ptr& impl, key_list keys);

// Takes the pages. With `hand_back` a page that was not committed, and is not in doubt, is moved back to its place in
// `pages` by get(), which must then come before `pages` goes; otherwise it returns to the reserve.
pending_ptr<std::vector<ec>> start_commit(const impl_ptr& impl, key_list keys, std::span<page_buffer> pages,
                                          bool hand_back);

}  // namespace maru::net
