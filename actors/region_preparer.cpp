#include <algorithm>

#include "actors/page_memory.hpp"
#include "actors/pool_facts.hpp"
#include "actors/pool_manager.hpp"
#include "base/bounds.hpp"
#include "base/size.hpp"

namespace maru::actors {

namespace {

constexpr std::uint64_t step_bytes = 64 * bounds::MiB;  // mapped at a time

// What failed of the memory. All else is not fatal: the first touch of each page is slower.
std::vector<cxl::failed_piece> prefault(const cxl::device& device, std::uint64_t offset, std::uint64_t length) {
  auto present = make_present(device, offset, length);
  if (present)
    return *std::move(present);
  log::warn("prefault_failed", "{}", to_string(present.error()));
  return {};
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
        return prepared{};  // all of it is there
      auto& device = env_->pool->data_device(m.device);
      auto first = align_down(m.offset, device.align());  // pages need not be as large as what the device gives out
      auto length = m.offset + m.length - first;
      if (auto taken = device.reserve(first, length); !taken) {
        log::error("no_space", "{}", to_string(taken.error()));
        return prepared{taken.code(), {}};
      }
      bool now = env_->options.prefault == "background";
      return prepared{ec::ok, now ? prefault(device, first, length) : std::vector<cxl::failed_piece>{}};
    },
    [this](const prepare_device& m) {
      auto made = env_->pool->prepare_device(m.spec);
      if (!made)
        return prepared_device{made.error(), nullptr};
      auto& device = (*made)->data();
      if (env_->durability_host && !device.survives_reboot())
        return prepared_device{{ec::bad_option, "failed to add device " + device.path()
                                                  + ": --durability=host needs one "
                                                    "that outlives a reboot, and it is on "
                                                  + device.kind()},
                               nullptr};
      if (env_->options.prefault == "start")
        if (auto present = prefault_all(device); !present)
          return prepared_device{present, nullptr};
      cxl::index_writer::clear((*made)->index_for_readers(), env_->shards);
      return prepared_device{{}, std::make_shared<std::unique_ptr<cxl::member>>(*std::move(made))};
    },
    [this](const save_devices&) {
      storage::write_batch batch;
      batch.set_pool(pool_record_of(*env_->pool));
      return outcome{env_->store->write(std::move(batch), true).code()};
    },
  };
}

status region_preparer::prefault_all(cxl::device& device) {
  if (auto taken = device.reserve(0, device.size()); !taken)
    return taken;
  for (std::uint64_t at = 0; at < device.size(); at += step_bytes)
    prefault(device, at, std::min(step_bytes, device.size() - at));  // who meets what failed reports it
  return {};
}

}  // namespace maru::actors
