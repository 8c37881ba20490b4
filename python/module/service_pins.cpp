#include "python/module/service_pins.hpp"

namespace maru::python {

namespace {

constexpr std::size_t idle_keys_min = 4096;  // so many idle ones are no reason to sweep

}  // namespace

void service_pins::add(std::string_view key, const location& where) {
  std::lock_guard lock(mutex_);
  auto it = pins_.find(key);
  if (it == pins_.end()) {
    sweep();
    it = pins_.try_emplace(std::string{key}).first;
  }
  auto& pin = it->second;
  auto page = where.as_grant();
  if (pin.where != page) {  // pins of before, if any, ended with their session
    live_ -= pin.count > 0;
    pin = {page, 0};
  }
  live_ += pin.count++ == 0;
  by_page_[page.page] = &*it;
}

void service_pins::drop_one(held& pin) { live_ -= --pin.count == 0; }

void service_pins::drop(std::string_view key) {
  std::lock_guard lock(mutex_);
  if (auto it = pins_.find(key); it != pins_.end() && it->second.count > 0)
    drop_one(it->second);
}

std::optional<std::string> service_pins::take(page_ref where) {
  std::lock_guard lock(mutex_);
  auto at = by_page_.find(where);
  if (at == by_page_.end())
    return std::nullopt;
  auto& [key, pin] = *at->second;
  if (pin.count == 0 || pin.where.page != where)
    return std::nullopt;
  drop_one(pin);
  return key;
}

void service_pins::sweep() {
  if (pins_.size() < 2 * live_ + idle_keys_min)
    return;
  std::erase_if(by_page_, [](auto& page) { return page.second->second.count == 0; });
  std::erase_if(pins_, [](auto& pin) { return pin.second.count == 0; });
}

void service_pins::clear() {
  std::lock_guard lock(mutex_);
  by_page_.clear();
  pins_.clear();
  live_ = 0;
}

}  // namespace maru::python
