// Goal: a blob of records in a message is taken for what it is or refused (net/records.hpp). Method: the bytes as each
// kind of blob: what decodes encodes to the same bytes, and what is well-formed decodes; then the bytes as values:
// every value survives the way through a blob.
#include "net/records.hpp"

#include <algorithm>

#include "base/bounds.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

using namespace net;

void hold_to_its_blob(std::string_view blob, const auto& decoded, auto encode, bool well_formed) {
  must(decoded.has_value() == well_formed, "a blob decodes if it is well-formed, and only then");
  if (decoded)
    must(encode(*decoded) == blob, "what decodes encodes to the same bytes");
}

// Whether each record of this size, from its own bytes, is good.
bool all_records(std::string_view blob, std::size_t size, auto good) {
  if (blob.size() % size != 0 || blob.size() / size > bounds::batch_items_max)
    return false;
  for (; !blob.empty(); blob.remove_prefix(size))
    if (!good(blob.substr(0, size)))
      return false;
  return true;
}

// A generation has 48 bits: the upper two of its eight bytes are zero.
bool fits_48_bits(std::string_view number) { return number[6] == 0 && number[7] == 0; }
bool is_code(char c) { return static_cast<unsigned char>(c) <= static_cast<unsigned char>(ec::last_); }

void try_blobs(std::string_view blob) {
  hold_to_its_blob(blob, decode_hashes(blob), encode_hashes, all_records(blob, 16, [](auto) { return true; }));
  hold_to_its_blob(blob, decode_grants(blob), encode_grants,
                   all_records(blob, 16, [](auto r) { return fits_48_bits(r.substr(8)); }));
  hold_to_its_blob(blob, decode_view_pins(blob), encode_view_pins, all_records(blob, view_pin_bytes, [](auto r) {
                     return r.substr(16, 4) != std::string_view{"\0\0\0\0", 4} && fits_48_bits(r.substr(24));
                   }));
  hold_to_its_blob(blob, decode_codes(blob), encode_codes, all_records(blob, 1, [](auto r) { return is_code(r[0]); }));
  hold_to_its_blob(blob, decode_found(blob), encode_found, all_records(blob, found_bytes, [](auto r) {
                     return is_code(r[12]) && r[13] == 0 && r[14] == 0 && r[15] == 0 && fits_48_bits(r.substr(16));
                   }));
  auto commits = decode_commits(blob);
  if (!commits)
    return;
  must(commits->size() <= bounds::batch_items_max, "a batch of commits is within its bound");
  must(encode_commits(*commits) == blob, "commits that decode encode to the same bytes");
  for (const auto& item : *commits)
    must(item.key.empty() || (item.key.data() >= blob.data() && item.key.end() <= blob.end()),
         "a key points into its blob");
}

page_ref take_page(reader& in) {
  auto region = region_id{in.number<std::uint32_t>()};
  return {region, page_index{in.number<std::uint32_t>()}};
}

location take_location(reader& in) {
  auto page = take_page(in);
  auto length = in.number<std::uint32_t>();
  auto gen = in.number<std::uint64_t>() & generation_max;
  return {page, length, gen, in.number<std::uint64_t>()};
}

void try_values(reader in) {
  std::vector<key_hash> hashes;
  std::vector<page_grant> grants;
  std::vector<found> items;
  std::vector<ec> codes;
  std::vector<commit_item> commits;
  while (!in.at_end() && items.size() < bounds::batch_items_max) {
    auto code = in.number<std::uint8_t>();
    auto where = take_location(in);
    codes.push_back(static_cast<ec>(code % (static_cast<unsigned>(ec::last_) + 1)));
    items.push_back({codes.back(), where});
    grants.push_back({where.page, where.gen});
    hashes.push_back({where.gen, where.checksum});
    commits.push_back({in.bytes(std::min<std::size_t>(code, in.remaining())), where});
  }
  must(decode_hashes(encode_hashes(hashes)) == hashes, "hashes survive");
  must(decode_grants(encode_grants(grants)) == grants, "grants survive");
  must(decode_codes(encode_codes(codes)) == codes, "codes survive");
  must(decode_found(encode_found(items)) == items, "answers of a lookup survive");
  auto blob = encode_commits(commits);
  auto decoded = decode_commits(blob);
  must(decoded
         && std::equal(decoded->begin(), decoded->end(), commits.begin(), commits.end(),
                       [](const auto& a, const auto& b) { return a.key == b.key && a.where == b.where; }),
       "commits survive");
}

}  // namespace

void try_input(std::string_view bytes) {
  try_blobs(bytes);
  try_values(reader{bytes});
}

}  // namespace maru::fuzz
