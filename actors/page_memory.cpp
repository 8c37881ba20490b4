#include "actors/page_memory.hpp"

#include <algorithm>
#include <utility>

#include "base/size.hpp"

namespace maru::actors {

namespace {

// Each unit by itself, where all of them at once met one that failed.
result<std::vector<cxl::failed_piece>> failed_units(const cxl::mapping& memory, std::uint64_t unit) {
  std::vector<cxl::failed_piece> out;
  for (std::uint64_t at = 0; at < memory.size(); at += unit) {
    auto size = std::min<std::uint64_t>(unit, memory.size() - at);
    auto present = memory.populate(at, size);
    if (present)
      continue;
    if (present.code() != ec::memory_failed)
      return present.error();
    out.push_back({at, size});
  }
  return out;
}

}  // namespace

result<page_memory> page_memory::map(const environment& env, page_ref page) {
  auto row = env.regions->find(page.region);
  if (!row || value_of(page.page) >= row->page_count())
    return {ec::missing, "failed to look at page " + to_string(page) + ": there is none"};
  const auto& device = env.pool->data_device(row->device);
  auto at = row->offset + value_of(page.page) * row->page_bytes;
  auto begin = align_down(at, device.align());
  auto memory = device.map(begin, align_up(at + row->page_bytes, device.align()) - begin, cxl::access::read);
  if (!memory)
    return memory.code() == ec::corrupt ? error{ec::memory_failed, memory.error().message} : memory.error();
  page_memory out;
  out.memory_ = *std::move(memory);
  out.memory_.guard(device.align());
  out.bytes_ = out.memory_.bytes().subspan(at - begin, row->page_bytes);
  return out;
}

ec check_memory(const environment& env, page_ref page) {
  auto memory = page_memory::map(env, page);
  if (!memory)
    return memory.code();
  return memory->is_sound() ? ec::ok : ec::memory_failed;
}

result<std::vector<cxl::failed_piece>> make_present(const cxl::device& device, std::uint64_t offset,
                                                    std::uint64_t length) {
  auto memory = device.map(offset, align_up(length, device.align()), cxl::access::read_write);
  if (!memory)
    return memory.error();
  memory->guard(device.align());
  auto present = memory->populate(0, length);
  if (present)
    return std::vector<cxl::failed_piece>{};
  if (present.code() != ec::memory_failed)
    return present.error();
  auto failed = failed_units(*memory, device.align());
  if (failed)
    for (auto& piece : *failed)
      piece.offset += offset;
  return failed;
}

}  // namespace maru::actors
