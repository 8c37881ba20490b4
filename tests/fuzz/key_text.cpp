// Goal: maructl shows every key so that it reads it back, and takes no other text for it (app/maructl/key_text.hpp).
// Method: the bytes as a key that is shown, and as a text that is read.
#include "app/maructl/key_text.hpp"

#include <algorithm>

#include "base/bounds.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

void try_input(std::string_view bytes) {
  using namespace ctl;
  auto shown = show_key(bytes);
  must(std::all_of(shown.begin(), shown.end(), [](char c) { return c > ' ' && c <= '~'; }), "a key is shown visibly");
  auto key = parse_key(shown);
  bool is_key = !bytes.empty() && bytes.size() <= bounds::key_bytes_max;
  must(bool{key} == is_key && (!key || *key == bytes), "a key that is shown is read back");

  auto read = parse_key(bytes);
  if (!read) {
    must(read.code() == ec::bad_option && read.error().message.starts_with("failed to "), "a refusal is a sentence");
    return;
  }
  must(!read->empty() && read->size() <= bounds::key_bytes_max, "a key is within its bound");
  must(*read == bytes || bytes.starts_with("hex:"), "a text without hex: means itself");
  auto again = parse_key(show_key(*read));
  must(again && *again == *read, "a key that was read survives");
}

}  // namespace maru::fuzz
