#include <algorithm>

#include "actors/pool_manager.hpp"
#include "base/bounds.hpp"
#include "base/size.hpp"

namespace maru::actors {

namespace {

constexpr std::uint64_t step_bytes = 64 * bounds::MiB;  // mapped at a time

// Not fatal where it fails: the first touch of each page is slower. REQUIRES: `offset` is aligned as the device wants it.
void make_present(const cxl::device& device, std::uint64_t offset, std::uint64_t length) {
  auto map = device.map(offset, align_up(length, device.align()), cxl::access::read_write);
  auto present = map ? map->populate(0, length) : status{map.error()};
  if (!present)
    log::warn("prefault_failed", "{}", to_string(present.error()));
}

}  // namespace

region_preparer::region_preparer(caf::actor_config& cfg, environment_ptr env)
    : observed(cfg, env->metrics, metrics::actor::region_preparer), env_(std::move(env)) {
  harden(this, env_, "region_preparer");
}

region_preparer::behavior_type region_preparer::make_behavior() {
  return {
    [this](const prepare_pages& m) {
      if (env_->options.prefault == "start")
        return outcome{};  // all of it is there
      auto& device = env_->pool->data_device();
      auto first = align_down(m.offset, device.align());  // pages need not be as large as what the device gives out
      auto length = m.offset + m.length - first;
      if (auto taken = device.reserve(first, length); !taken) {
        log::error("no_space", "{}", to_string(taken.error()));
        return outcome{taken.code()};
      }
      if (env_->options.prefault == "background")
        make_present(device, first, length);
      return outcome{};
    },
  };
}

status region_preparer::prefault_all(cxl::device& device) {
  if (auto taken = device.reserve(0, device.size()); !taken)
    return taken;
  for (std::uint64_t at = 0; at < device.size(); at += step_bytes)
    make_present(device, at, std::min(step_bytes, device.size() - at));
  return {};
}

}  // namespace maru::actors
