// A clock for calls of some ten nanoseconds: the processor's own counter, held against CLOCK_MONOTONIC once, and less
// what reading it costs.
#pragma once

#include <cstdint>
#include <string>

#include "app/bench/clock.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace maru::bench {

// The counter and the system's clock at one moment.
struct clock_reading {
  std::uint64_t ticks = 0, ns = 0;
};
// Ticks in a nanosecond between two readings; 0 where one of the clocks stood still or went back.
double ticks_per_ns(const clock_reading& first, const clock_reading& last);

// Operation: `begin`, the call, `end`; `ns` of the two. Calls that come before `begin` are over when it reads, and so
// is the measured one when `end` does. The counter is the TSC where CPUID says that it runs at one rate in all states
// of the processor, the virtual counter on Arm, else CLOCK_MONOTONIC. Limits: readings of two threads are not compared.
class cycle_clock {
public:
  enum class source : std::uint8_t { tsc, virtual_counter, monotonic };

  // A counter that is known: so many ticks in a nanosecond, so many to read it.
  cycle_clock(source from, double ticks_per_ns, std::uint64_t cost_ticks)
      : source_(from), ticks_per_ns_(ticks_per_ns), cost_ticks_(cost_ticks) {}
  // The best one that this processor has. Takes about 50 ms.
  static cycle_clock calibrate();

  std::uint64_t begin() const {
#if defined(__x86_64__)
    if (source_ == source::tsc) {
      _mm_lfence();
      auto ticks = __rdtsc();
      _mm_lfence();
      return ticks;
    }
#elif defined(__aarch64__)
    if (source_ == source::virtual_counter)
      return virtual_count();
#endif
    return monotonic_ns();
  }
  std::uint64_t end() const {
#if defined(__x86_64__)
    if (source_ == source::tsc) {
      unsigned processor;
      auto ticks = __rdtscp(&processor);
      _mm_lfence();
      return ticks;
    }
#endif
    return begin();
  }

  // What lies between the two, without the cost of reading. Never below 0.
  std::uint64_t ns(std::uint64_t begin, std::uint64_t end) const {
    auto ticks = end - begin;
    return ticks <= cost_ticks_
             ? 0
             : static_cast<std::uint64_t>(static_cast<double>(ticks - cost_ticks_) / ticks_per_ns_ + 0.5);
  }

  source counter() const { return source_; }
  double cost_ns() const { return static_cast<double>(cost_ticks_) / ticks_per_ns_; }
  // "TSC, 2.500 ticks/ns, 12.4 ns to read"
  std::string text() const;

private:
#if defined(__aarch64__)
  static std::uint64_t virtual_count() {
    std::uint64_t ticks;
    asm volatile("isb; mrs %0, cntvct_el0; isb" : "=r"(ticks)::"memory");
    return ticks;
  }
#endif

  source source_;
  double ticks_per_ns_;
  std::uint64_t cost_ticks_;
};

}  // namespace maru::bench
