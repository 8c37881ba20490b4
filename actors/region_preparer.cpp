#include "actors/pool_manager.hpp"
#include "base/size.hpp"

namespace maru::actors {

region_preparer::region_preparer(caf::actor_config& cfg, environment_ptr env)
    : region_preparer_actor::base(cfg), env_(std::move(env)) {
  harden(this, env_, "region_preparer");
}

region_preparer::behavior_type region_preparer::make_behavior() {
  return {
    [this](const prepare_region& m) {
      auto& device = env_->pool->data_device();
      if (auto taken = device.reserve(m.row.offset, m.row.length); !taken) {
        spdlog::error("{}", to_string(taken.error()));
        return outcome{taken.code()};
      }
      if (env_->options.prefault == "off")
        return outcome{};
      auto map = device.map(m.row.offset, align_up(m.row.length, device.align()), cxl::access::read_write);
      auto present = map ? map->populate(0, m.row.length) : maru::status{map.error()};
      if (!present)  // not fatal: the first touch of each page is slower
        spdlog::warn("{}", to_string(present.error()));
      return outcome{};
    },
  };
}

}  // namespace maru::actors
