#include "python/module/service_pins.hpp"

namespace maru::python {

void service_pins::add(std::string_view key, const location& where) {
  std::lock_guard lock(mutex_);
  auto& known = *pins_.try_emplace(std::string{key}).first;
  auto& pin = known.second;
  if (pin.count > 0 && pin.where != where) {  // those of before ended with their session
    by_page_.erase(pin.where.page);
    pin.count = 0;
  }
  pin.where = where;
  ++pin.count;
  by_page_[where.page] = &known;
}

void service_pins::drop_one(by_key::iterator it) {
  if (--it->second.count > 0)
    return;
  auto at = by_page_.find(it->second.where.page);
  if (at != by_page_.end() && at->second == &*it)
    by_page_.erase(at);
  pins_.erase(it);
}

void service_pins::drop(std::string_view key) {
  std::lock_guard lock(mutex_);
  if (auto it = pins_.find(std::string{key}); it != pins_.end())
    drop_one(it);
}

std::optional<std::string> service_pins::take(page_ref where) {
  std::lock_guard lock(mutex_);
  auto at = by_page_.find(where);
  if (at == by_page_.end())
    return std::nullopt;
  auto key = at->second->first;
  drop_one(pins_.find(key));
  return key;
}

void service_pins::clear() {
  std::lock_guard lock(mutex_);
  by_page_.clear();
  pins_.clear();
}

}  // namespace maru::python
