// The secrets of which a worker must show one.
//
// Operation: they come from a file, read again when it changes, or from text that stays. Several are valid at once, so
// that a new one can be spread before the old one goes. Where a changed file cannot be read, or holds none, those of
// before stay: an empty file never means that nobody is asked.
// Concurrency: one thread at a time.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file_stamp.hpp"

namespace maru::actors {

class accepted_tokens {
public:
  // Every token fits: none is asked for.
  accepted_tokens() = default;
  // `file`, unless it is empty; else those of `text`, a line each; else none. `bad_option`: see parse_tokens.
  static result<accepted_tokens> load(const std::string& file, const std::string& text);

  // Takes the same time whichever token it fits, or almost fits.
  bool fits(std::string_view token);
  bool asked() const { return !digests_.empty(); }

private:
  // Tokens are compared by keyed hashes: these have one length, and tell nothing of how much of a token was right.
  using digest = std::array<unsigned char, 32>;
  using hash_key = std::array<unsigned char, 32>;

  digest digest_of(std::string_view token) const;
  void take(const std::vector<std::string>& tokens);
  void look_again();

  std::string file_;
  file_stamp seen_;
  hash_key key_{};
  std::vector<digest> digests_;
};

}  // namespace maru::actors
