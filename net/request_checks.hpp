// What all operations of the client check and say alike.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/bounds.hpp"
#include "base/error.hpp"
#include "net/exchange.hpp"
#include "net/operations.hpp"

namespace maru::net {

inline status check_batch(const char* what, std::size_t n) {
  if (n > bounds::batch_items_max)
    return {ec::too_large, failure(what, std::to_string(n) + " keys are more than a batch takes, "
                                           + std::to_string(bounds::batch_items_max))};
  return {};
}

inline ec check_key(std::string_view key) {
  if (key.empty())
    return ec::invalid;
  return key.size() > bounds::key_bytes_max ? ec::too_large : ec::ok;
}

inline error nonsense(const char* what) { return {ec::corrupt, failure(what, "marud's answer makes no sense")}; }

template <class T>
pending_ptr<T> answered(result<T> r) {
  return std::make_unique<settled<T>>(std::move(r));
}

}  // namespace maru::net
