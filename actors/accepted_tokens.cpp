#include "actors/accepted_tokens.hpp"

#include <sodium/crypto_generichash.h>
#include <sodium/utils.h>

#include "base/log.hpp"
#include "base/token_file.hpp"
#include "base/uuid.hpp"

namespace maru::actors {

result<accepted_tokens> accepted_tokens::load(const std::string& file, const std::string& text) {
  accepted_tokens out;
  if (file.empty() && text.empty())
    return out;
  out.file_ = file;
  out.seen_ = stamp_of(file);
  auto tokens = file.empty() ? parse_tokens(text, "MARU_TOKEN") : read_tokens(file);
  if (!tokens)
    return tokens.error();
  random_bytes(out.key_.data(), out.key_.size());
  out.take(*tokens);
  return out;
}

bool accepted_tokens::fits(std::string_view token) {
  if (!file_.empty())
    look_again();
  if (digests_.empty())
    return true;
  auto shown = digest_of(token);
  bool found = false;
  for (const auto& known : digests_)  // all of them
    found |= sodium_memcmp(shown.data(), known.data(), known.size()) == 0;
  return found;
}

accepted_tokens::digest accepted_tokens::digest_of(std::string_view token) const {
  digest out{};
  crypto_generichash(out.data(), out.size(), reinterpret_cast<const unsigned char*>(token.data()), token.size(),
                     key_.data(), key_.size());
  return out;
}

void accepted_tokens::take(const std::vector<std::string>& tokens) {
  digests_.clear();
  for (const auto& token : tokens)
    digests_.push_back(digest_of(token));
}

void accepted_tokens::look_again() {
  auto now = stamp_of(file_);
  if (now == seen_)
    return;
  seen_ = now;
  auto tokens = read_tokens(file_);
  if (!tokens) {
    log::warn("tokens_kept", "{}; the tokens of before stay valid", tokens.error().message);
    return;
  }
  take(*tokens);
  log::info("tokens_changed", "{} has {} tokens now, and these are valid", file_, tokens->size());
}

}  // namespace maru::actors
