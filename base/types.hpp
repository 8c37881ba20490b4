// The nouns of Maru as types. Every id is its own type, so that a page index is never passed where a region id
// belongs. See docs/architecture.md, "Words".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace maru {

// Counts up from 1, fits 31 bits, is persisted and never used twice in the life of a pool.
enum class region_id : std::uint32_t { none = 0 };

// Index of a page in its region, from 0.
enum class page_index : std::uint32_t {};

// {server epoch: high 32 bits, counter: low 32 bits}: never used twice in the life of a pool. 0 is nobody.
enum class session_id : std::uint64_t { none = 0 };

// 48-bit counter of a page slot, only ever growing. A location whose generation is not the page's is stale.
using generation = std::uint64_t;
inline constexpr generation generation_max = (generation{1} << 48) - 1;

// Identity of an entry everywhere: 128-bit SipHash-2-4 of the key under the pool's secret.
struct key_hash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const key_hash&, const key_hash&) = default;
  friend auto operator<=>(const key_hash&, const key_hash&) = default;
};

// A page of the pool: what a worker addresses.
struct page_ref {
  region_id region = region_id::none;
  page_index page{};
  friend bool operator==(const page_ref&, const page_ref&) = default;
  friend auto operator<=>(const page_ref&, const page_ref&) = default;
};

// A page at one point of its life: what a grant names.
struct page_grant {
  page_ref page;
  generation gen = 0;
  friend bool operator==(const page_grant&, const page_grant&) = default;
};

// Where the bytes of an entry are. `length` is in bytes, `checksum` the payload's (0 = none).
struct location {
  page_ref page;
  std::uint32_t length = 0;
  generation gen = 0;
  std::uint64_t checksum = 0;
  page_grant as_grant() const { return {page, gen}; }
  friend bool operator==(const location&, const location&) = default;
};

// What a worker holds in place. By key (no page): the entry, which is not evicted and not removed. By a view: the page at
// this point of its life, which is not used again before the view is gone; the key may be removed meanwhile.
struct pin_id {
  key_hash hash;
  page_grant page;
  bool by_view() const { return page.page.region != region_id::none; }
  friend bool operator==(const pin_id&, const pin_id&) = default;
};

// What a lookup takes of each hit: nothing, a pin by key, or one of a view.
enum class holding : std::uint8_t { nothing, pin, view };
// The pin that it takes. REQUIRES: not `nothing`.
inline pin_id pin_of(holding takes, const key_hash& hash, const location& where) {
  return {hash, takes == holding::view ? where.as_grant() : page_grant{}};
}

// A region as a session was shown it: its first `pages` pages are that session's before anybody else's; `shared`: all of
// them, beside other sessions.
struct region_share {
  region_id region = region_id::none;
  std::uint32_t pages = 0;
  bool shared = false;
  friend bool operator==(const region_share&, const region_share&) = default;
};

inline constexpr std::uint32_t value_of(region_id id) { return static_cast<std::uint32_t>(id); }
inline constexpr std::uint32_t value_of(page_index id) { return static_cast<std::uint32_t>(id); }
inline constexpr std::uint64_t value_of(session_id id) { return static_cast<std::uint64_t>(id); }

// One 64-bit number for a page: region in the high half, page index in the low half.
inline constexpr std::uint64_t packed(page_ref p) {
  return (std::uint64_t{value_of(p.region)} << 32) | value_of(p.page);
}

inline constexpr page_ref unpacked(std::uint64_t page) {
  return {static_cast<region_id>(page >> 32), static_cast<page_index>(page & UINT32_MAX)};
}

// "region:page@generation", as logs and maructl print it.
std::string to_string(page_ref page);
std::string to_string(const key_hash& hash);  // 32 hex digits

}  // namespace maru

template <>
struct std::hash<maru::key_hash> {
  // The hash is uniform already.
  std::size_t operator()(const maru::key_hash& h) const noexcept { return h.low; }
};

template <>
struct std::hash<maru::page_ref> {
  std::size_t operator()(const maru::page_ref& p) const noexcept {
    return maru::packed(p) * 0x9e3779b97f4a7c15ull >> 7;
  }
};

template <>
struct std::hash<maru::page_grant> {
  std::size_t operator()(const maru::page_grant& p) const noexcept { return std::hash<maru::page_ref>{}(p.page); }
};

template <>
struct std::hash<maru::pin_id> {
  std::size_t operator()(const maru::pin_id& p) const noexcept {
    return p.hash.low ^ std::hash<maru::page_grant>{}(p.page);
  }
};
