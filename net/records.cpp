#include "net/records.hpp"

#include "base/bounds.hpp"
#include "base/codec.hpp"

namespace maru::net {

namespace {

constexpr std::size_t hash_bytes = 16, grant_bytes = 16, commit_head_bytes = 32;

// Number of fixed records in a blob; empty where it is no whole number of them or over the batch bound.
std::optional<std::size_t> record_count(std::string_view blob, std::size_t record_bytes) {
  auto n = blob.size() / record_bytes;
  if (n * record_bytes != blob.size() || n > bounds::batch_items_max)
    return std::nullopt;
  return n;
}

std::optional<ec> checked_code(std::uint8_t code) {
  if (code > static_cast<std::uint8_t>(ec::last_))
    return std::nullopt;
  return static_cast<ec>(code);
}

page_ref read_page(reader& in) {
  auto region = in.number<std::uint32_t>();
  auto page = in.number<std::uint32_t>();
  return {static_cast<region_id>(region), static_cast<page_index>(page)};
}

void write_page(writer& out, page_ref page) { out.number(value_of(page.region)).number(value_of(page.page)); }

// A blob of fixed records: `write` appends one.
template <class Record, class Write>
std::string encode_records(std::span<const Record> records, std::size_t record_bytes, Write write) {
  std::string blob;
  blob.reserve(records.size() * record_bytes);
  writer out{blob};
  for (auto& r : records)
    write(out, r);
  return blob;
}

// `read` takes one; false where it makes no sense. Empty also where the blob is no whole number of records or over the
// batch bound.
template <class Record, class Read>
std::optional<std::vector<Record>> decode_records(std::string_view blob, std::size_t record_bytes, Read read) {
  auto n = record_count(blob, record_bytes);
  if (!n)
    return std::nullopt;
  std::vector<Record> records(*n);
  reader in{blob};
  for (auto& r : records)
    if (!read(in, r))
      return std::nullopt;
  return records;
}

void write_grant(writer& out, const page_grant& g) {
  write_page(out, g.page);
  out.number(g.gen);
}

bool read_grant(reader& in, page_grant& g) {
  g.page = read_page(in);
  g.gen = in.number<std::uint64_t>();
  return g.gen <= generation_max;
}

}  // namespace

std::string encode_hashes(std::span<const key_hash> hashes) {
  return encode_records(hashes, hash_bytes, [](writer& out, const key_hash& h) { out.hash(h); });
}

std::optional<std::vector<key_hash>> decode_hashes(std::string_view blob) {
  return decode_records<key_hash>(blob, hash_bytes, [](reader& in, key_hash& h) {
    h = in.hash();
    return true;
  });
}

std::string encode_view_pins(std::span<const pin_id> pins) {
  return encode_records(pins, view_pin_bytes, [](writer& out, const pin_id& pin) {
    out.hash(pin.hash);
    write_grant(out, pin.page);
  });
}

std::optional<std::vector<pin_id>> decode_view_pins(std::string_view blob) {
  return decode_records<pin_id>(blob, view_pin_bytes, [](reader& in, pin_id& pin) {
    pin.hash = in.hash();
    return read_grant(in, pin.page) && pin.by_view();
  });
}

std::string encode_found(std::span<const found> items) {
  return encode_records(items, found_bytes, [](writer& out, const found& item) {
    write_page(out, item.where.page);
    // The code and three zero bytes, as one little-endian number.
    out.number(item.where.length).number(static_cast<std::uint32_t>(item.code));
    out.number(item.where.gen).number(item.where.checksum);
  });
}

std::optional<std::vector<found>> decode_found(std::string_view blob) {
  return decode_records<found>(blob, found_bytes, [](reader& in, found& item) {
    item.where.page = read_page(in);
    item.where.length = in.number<std::uint32_t>();
    auto code_and_zeros = in.number<std::uint32_t>();
    item.where.gen = in.number<std::uint64_t>();
    item.where.checksum = in.number<std::uint64_t>();
    auto code = checked_code(static_cast<std::uint8_t>(code_and_zeros));
    item.code = code.value_or(ec::corrupt);
    return code_and_zeros <= 0xff && code && item.where.gen <= generation_max;
  });
}

std::string encode_grants(std::span<const page_grant> grants) {
  return encode_records(grants, grant_bytes, write_grant);
}

std::optional<std::vector<page_grant>> decode_grants(std::string_view blob) {
  return decode_records<page_grant>(blob, grant_bytes, read_grant);
}

std::string encode_codes(std::span<const ec> codes) {
  std::string blob;
  blob.reserve(codes.size());
  for (auto code : codes)
    blob.push_back(static_cast<char>(code));
  return blob;
}

std::optional<std::vector<ec>> decode_codes(std::string_view blob) {
  if (blob.size() > bounds::batch_items_max)
    return std::nullopt;
  std::vector<ec> codes;
  codes.reserve(blob.size());
  for (auto byte : blob) {
    auto code = checked_code(static_cast<std::uint8_t>(byte));
    if (!code)
      return std::nullopt;
    codes.push_back(*code);
  }
  return codes;
}

std::string encode_commits(std::span<const commit_item> items) {
  std::size_t size = 0;
  for (auto& item : items)
    size += commit_head_bytes + item.key.size();
  std::string blob;
  blob.reserve(size);
  writer out{blob};
  for (auto& item : items) {
    write_page(out, item.where.page);
    out.number(item.where.gen).number(item.where.length).number(static_cast<std::uint32_t>(item.key.size()));
    out.number(item.where.checksum).raw(item.key.data(), item.key.size());
  }
  return blob;
}

std::optional<std::vector<commit_item>> decode_commits(std::string_view blob) {
  std::vector<commit_item> items;
  reader in{blob};
  while (!in.at_end()) {
    if (items.size() == bounds::batch_items_max)
      return std::nullopt;
    commit_item item;
    item.where.page = read_page(in);
    item.where.gen = in.number<std::uint64_t>();
    item.where.length = in.number<std::uint32_t>();
    auto key_bytes = in.number<std::uint32_t>();
    item.where.checksum = in.number<std::uint64_t>();
    item.key = in.bytes(key_bytes);
    if (!in.ok() || item.where.gen > generation_max)
      return std::nullopt;
    items.push_back(item);
  }
  return items;
}

}  // namespace maru::net
