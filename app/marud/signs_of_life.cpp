#include "app/marud/signs_of_life.hpp"

#include <sys/resource.h>

#include "base/log.hpp"

namespace maru::daemon {

namespace {

std::chrono::microseconds duration_of(const timeval& t) {
  return std::chrono::seconds{t.tv_sec} + std::chrono::microseconds{t.tv_usec};
}

}  // namespace

work_done work_done::now() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return {duration_of(used.ru_utime) + duration_of(used.ru_stime), used.ru_inblock + used.ru_oublock};
}

bool work_done::beyond(const work_done& before) const {
  return cpu - before.cpu > std::chrono::milliseconds{5} || blocks > before.blocks;
}

start_signs::start_signs(const service_manager& manager, std::chrono::microseconds interval,
                         std::function<work_done()> work)
    : repeated_(interval, [&manager, work = std::move(work), before = work_done{{}, -1}]() mutable {
        auto now = work();
        if (!now.beyond(before))
          return;
        before = now;
        auto more = std::chrono::microseconds{bounds::start_extension}.count();
        manager.tell("EXTEND_TIMEOUT_USEC=" + std::to_string(more) + "\nSTATUS=opening the pool and its metadata");
      }) {}

watchdog::watchdog(const service_manager& manager, std::function<std::string()> silent) {
  if (!manager.watchdog())
    return;
  repeated_ = std::make_unique<repeated>(*manager.watchdog() / 3, [&manager, silent = std::move(silent)] {
    if (auto who = silent(); who.empty())
      manager.tell("WATCHDOG=1");
    else
      log::error("actor_silent", "{} did not answer in {} s", who, std::chrono::seconds{bounds::answer_max}.count());
  });
}

}  // namespace maru::daemon
