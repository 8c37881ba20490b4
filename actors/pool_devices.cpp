// The pool_manager's devices: one is added to the running pool, emptied, and taken from it.
//
// Workers learn of it by the word that the indexes are open with: it changes first, so that nobody who does not know of a
// device takes what he does not find for a miss; their sessions resume then, and are told of the devices that there are.
#include <algorithm>

#include "actors/pool_facts.hpp"
#include "actors/pool_manager.hpp"
#include "base/kill_point.hpp"
#include "base/size.hpp"

namespace maru::actors {

caf::typed_response_promise<device_changed> pool_manager::change(const change_device& m) {
  auto promise = make_response_promise<device_changed>();
  auto refuse = [&](ec code, const std::string& cause) {
    promise.deliver(device_changed{{code, "failed to change device " + m.spec.path + ": " + cause}});
    return promise;
  };
  if (changing_devices_)
    return refuse(ec::busy, "another change is under way");
  auto real = with_real_path(m.spec);
  if (!real)
    return refuse(real.code(), real.error().message);
  const auto& members = env_->pool->members();
  auto at = std::find_if(members.begin(), members.end(), [&](const auto& d) { return d->spec().path == real->path; });
  if (m.verb == device_verb::add && (at == members.end() || !(*at)->draining)) {
    add(*real, promise);
    return promise;
  }
  if (at == members.end() && m.verb == device_verb::remove && env_->pool->forget_left_out(real->path)) {
    changing_devices_ = true;
    save([this, promise](ec code) mutable {
      changing_devices_ = false;
      promise.deliver(
        device_changed{code == ec::ok ? status{} : status{code, "the device is known still after a restart"}});
    });
    return promise;
  }
  const auto& left_out = env_->pool->left_out();
  if (std::any_of(left_out.begin(), left_out.end(), [&](const auto& d) { return d.path == real->path; }))
    return refuse(ec::invalid, "it is left out: 'maructl device add' takes it back, empty, and 'remove' forgets it");
  if (at == members.end())
    return refuse(ec::missing, "the pool has no such device; 'maructl device status' shows what there is");
  if (at == members.begin())
    return refuse(ec::invalid, "it is the pool's first device, which stays as long as the pool");
  if (m.verb == device_verb::remove)
    remove(**at, promise);
  else
    set_draining(**at, m.verb == device_verb::drain, promise);
  return promise;
}

void pool_manager::add(const device_spec& spec, caf::typed_response_promise<device_changed> promise) {
  changing_devices_ = true;
  auto fail = [this, promise](status cause) mutable {
    changing_devices_ = false;
    promise.deliver(device_changed{std::move(cause)});
  };
  request(preparer_, caf::infinite, prepare_device{spec})
    .then(
      [this, promise, fail](prepared_device& p) mutable {
        if (!p.done)
          return fail(p.done);
        auto slots = (env_->pool->data_bytes() + (*p.device)->super().data_bytes) / env_->pool->slot_bytes();
        if (slots > index_slots_max_) {
          (void)(*p.device)->erase();
          return fail({ec::no_space, "failed to add a device: the pool would be over "
                                       + std::to_string(index::growth_max)
                                       + " times as large as at its start; start marud anew with --devices"});
        }
        adopt(std::move(*p.device), promise);
      },
      [fail](const caf::error&) mutable {
        fail({ec::stopping, "marud is shutting down"});
      });
}

// On disk before the first page is granted there: a marud that is killed right after it still knows the device.
void pool_manager::adopt(std::unique_ptr<cxl::member> device, caf::typed_response_promise<device_changed> promise) {
  auto index = device->index();
  auto taken = env_->pool->adopt(std::move(device));
  auto* m = env_->pool->find_member(index);
  kill_point(kill_at::device_adopted);
  auto finish = [this, promise, index](status outcome_of) mutable {
    changing_devices_ = false;
    auto* added = env_->pool->find_member(index);
    if (!outcome_of) {
      if (added)
        (void)env_->pool->remove_device(index);
      promise.deliver(device_changed{std::move(outcome_of)});
      return;
    }
    tell_workers();
    table_->add_device(index, added->super().data_bytes, added->super().extent_bytes);
    no_space_ = false;
    no_space_until_ = {};
    log::info("device_added", "{}: {} of {}", added->spec().path, format_size(added->super().data_bytes),
              added->data().kind());
    promise.deliver(device_changed{});
    for (auto& [page_bytes, c] : classes_)
      supply(page_bytes);
  };
  if (!taken || m == nullptr)
    return finish(taken);
  save([finish](ec code) mutable {
    finish(code == ec::ok ? status{} : status{code, "failed to add a device: its record was not written"});
  });
}

void pool_manager::set_draining(cxl::member& m, bool draining, caf::typed_response_promise<device_changed> promise) {
  m.draining = draining;
  table_->set_closed(m.index(), draining);
  changing_devices_ = true;
  log::info("device_drain", "{} {}", m.spec().path, draining ? "is emptied" : "is used again");
  save([this, promise](ec code) mutable {
    changing_devices_ = false;
    promise.deliver(
      device_changed{code == ec::ok ? status{} : status{code, "the change was made, and a restart may forget it"}});
    for (auto& [page_bytes, c] : classes_)
      supply(page_bytes);
  });
}

void pool_manager::remove(cxl::member& m, caf::typed_response_promise<device_changed> promise) {
  std::uint64_t unassigned = 0;
  auto index = m.index();
  auto path = m.spec().path;
  auto used = table_->bytes_of(index, unassigned);
  auto rows = table_->rows();
  bool opening = std::any_of(rows.begin(), rows.end(),
                             [&](const auto& row) { return row.device == index && table_->opening(row.id); });
  if (!m.draining || used.held() > 0 || opening) {
    auto cause =
      m.draining ? format_size(used.held()) + " of it are in use still; 'maructl sessions' shows whose grants and pins"
                 : "it is in use; drain it first: maructl device drain " + path;
    promise.deliver(device_changed{{ec::busy, "failed to remove device " + path + ": " + cause}});
    return;
  }
  // RocksDB forgets it first: a kill in between leaves a device that says it is the pool's, and may be added again.
  m.leaving = changing_devices_ = true;
  save([this, promise, index, path](ec code) mutable {
    changing_devices_ = false;
    if (code != ec::ok) {
      env_->pool->find_member(index)->leaving = false;
      promise.deliver(device_changed{{code, "failed to remove device " + path + ": that was not written"}});
      return;
    }
    kill_point(kill_at::device_forgotten);
    for (const auto& row : table_->rows())  // those with pages that are retired stayed so far
      if (row.device == index)
        remove_region(row.id, true);
    table_->remove_device(index);
    auto removed = env_->pool->remove_device(index);
    tell_workers();
    if (removed)
      log::info("device_removed", "{}: it is nobody's now", path);
    else
      log::warn("device_removed", "{}: it is nobody's now, but not blank: {}", path, to_string(removed.error()));
    promise.deliver(device_changed{});
  });
}

void pool_manager::save(std::function<void(ec)> then) {
  request(preparer_, caf::infinite, save_devices{})
    .then([then](const outcome& d) { then(d.code); }, [then](const caf::error&) { then(ec::stopping); });
}

void pool_manager::tell_workers() {
  *env_->index_word = index_word_of(env_->pool->epoch(), ++device_changes_);
  env_->pool->open_indexes(*env_->index_word, env_->index_nonce);
}

// Entries of a device that is drained go as soon as nobody holds them, and its regions with their last page.
void pool_manager::empty_devices() {
  if (drain_ || grace_)
    return;
  std::vector<region_id> regions;
  for (const auto& row : table_->rows())
    if (table_->closed(row.device) && !table_->opening(row.id))
      regions.push_back(row.id);
  if (regions.empty())
    return;
  drain_.emplace();
  drain_->regions = std::move(regions);
  continue_drain();
}

// Pages that it was granted on a device that is drained: they are asked back.
bool pool_manager::holds_closed_pages(session_id session) const {
  for (const auto& [id, use] : table_->uses().of(session))
    if (const auto* row = table_->find(id); row && use.granted > 0 && table_->closed(row->device))
      return true;
  return false;
}

device_list pool_manager::devices() const {
  device_list out;
  for (const auto& m : env_->pool->members()) {
    device_status d;
    d.index = m->index();
    d.path = m->spec().path;
    d.kind = m->data().kind();
    d.id = m->super().device;
    d.draining = m->draining;
    d.bytes = m->super().data_bytes;
    d.used = table_->bytes_of(d.index, d.unassigned_bytes);
    out.devices.push_back(std::move(d));
  }
  for (const auto& gone : env_->pool->left_out()) {
    device_status d;
    d.path = gone.path;
    d.kind = "gone";
    d.left_out = true;
    if (gone.known) {
      d.index = gone.known->index;
      d.id = gone.known->device;
    }
    out.devices.push_back(std::move(d));
  }
  return out;
}

}  // namespace maru::actors
