#include "python/module/keeper.hpp"

#include <system_error>
#include <thread>
#include <utility>

#include "net/runtime.hpp"
#include "python/module/gil.hpp"

namespace maru::python {

namespace {

void take_down(std::shared_ptr<client> c) noexcept {
  try {
    net::signals_blocked quiet;
    std::thread{[c = std::move(c), counted = std::make_unique<away>()]() mutable { c.reset(); }}.detach();
  } catch (const std::system_error&) {
    // No thread to be had: the arguments are gone, and the client went with them, here.
  }
}

}  // namespace

std::shared_ptr<client> keep(std::shared_ptr<client> c) {
  auto* raw = c.get();
  return {raw, [c = std::move(c)](client*) mutable { take_down(std::move(c)); }};
}

}  // namespace maru::python
