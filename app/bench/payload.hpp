// The bytes of a benchmark chunk: a function of its key, so that a reader can tell every wrong byte without having
// seen the writer. Each block of 4 KiB is an arithmetic sequence of 64-bit words whose start and step are mixed from
// the key and the block's number: cheap to make and to check, and no block of any key equals another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace maru::bench {

inline constexpr std::size_t payload_block_bytes = 4096;

// 64 bits that stand for the key.
std::uint64_t payload_seed(std::string_view key);

void fill_payload(std::uint64_t seed, std::span<std::byte> out);

// Number of bytes that differ from what `fill_payload` writes.
std::size_t wrong_payload_bytes(std::uint64_t seed, std::span<const std::byte> bytes);

// The same, looking at the first cache line of each 4 KiB only.
std::size_t wrong_payload_bytes_sampled(std::uint64_t seed, std::span<const std::byte> bytes);

}  // namespace maru::bench
