// An actor whose work is measured: CAF 0.17 has no metrics of its own.
#pragma once

#include <caf/all.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "metrics/metrics.hpp"

namespace maru::actors {

// Takes the time of every message that the actor handles, answers to its own requests included, and counts those that wait
// for it. Two looks at the clock and three atomic additions a message (0.1 us), no lock.
// Limits: who waits is counted when a message is done, so an actor that hangs in one shows no backlog; that it hangs,
// /healthz and the watchdog tell.
// Base: the `base` of a typed actor's handle.
template <class Base>
class observed : public Base {
public:
  observed(caf::actor_config& cfg, std::shared_ptr<metrics::registry> metrics, metrics::actor who)
      : Base(cfg), metrics_(std::move(metrics)), who_(who) {}
  ~observed() override { waiting(0); }  // what came after its end was dropped

  using Base::consume;
  caf::invoke_message_result consume(caf::mailbox_element& message) override {
    auto begun = std::chrono::steady_clock::now();
    auto result = Base::consume(message);
    metrics_->handled(who_, std::chrono::steady_clock::now() - begun);
    waiting(static_cast<std::int64_t>(this->mailbox().size()));
    return result;
  }

private:
  // Actors of one kind share a gauge: each adds what changed for it.
  void waiting(std::int64_t now) {
    if (auto before = std::exchange(waiting_, now); before != now)
      metrics_->mailbox_length_add(who_, now - before);
  }

  std::shared_ptr<metrics::registry> metrics_;
  metrics::actor who_;
  std::int64_t waiting_ = 0;
};

}  // namespace maru::actors
