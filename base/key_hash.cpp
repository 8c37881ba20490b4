#include "base/key_hash.hpp"

#include <sodium/crypto_shorthash_siphash24.h>

namespace maru {

key_hash hash_key(const hash_secret& secret, std::string_view key) {
  static_assert(crypto_shorthash_siphashx24_BYTES == sizeof(key_hash));
  static_assert(crypto_shorthash_siphashx24_KEYBYTES == sizeof(hash_secret));
  unsigned char out[sizeof(key_hash)];
  crypto_shorthash_siphashx24(out, reinterpret_cast<const unsigned char*>(key.data()), key.size(), secret.data());
  key_hash hash;
  std::memcpy(&hash.low, out, 8);
  std::memcpy(&hash.high, out + 8, 8);
  return hash;
}

}  // namespace maru
