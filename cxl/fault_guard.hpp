// Memory that may fail under whoever touches it, without taking the process along.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace maru::cxl {

// What of a guarded range failed; offsets count from its begin.
struct failed_piece {
  std::size_t offset = 0, size = 0;
  friend bool operator==(const failed_piece&, const failed_piece&) = default;
};

// Whose touches a guard survives.
enum class survives : std::uint8_t {
  every_touch,  // everybody's, who must ask `faulted` afterwards
  looks,        // those of a thread that looks (class look); any other touch ends the process, as without a guard
};

// Guards mapped memory of a device as long as it lives. A touch that raises SIGBUS there (a poisoned page, a file that was
// cut short, a device that is gone) does not end the process: private zero memory takes the place of the unit that failed,
// and the range remembers it. So every reader and writer asks `faulted` of what it touched, after the touch.
//
// Operation: the first guard installs a handler of SIGBUS, which stays. What is not in a guarded range goes on to the
// handler that was there before; where there was none it kills as ever. The handler looks through a table that only grows.
// Concurrency: all of this file from any thread, without a lock; also in a child of fork.
// Limits: a handler that somebody installs later goes first, and must pass on what is not its own. A thread that has SIGBUS
// blocked is killed. System calls that meet failed memory see EFAULT and no signal. Guarded ranges do not overlap.
class fault_guard {
public:
  fault_guard() = default;
  // `unit`: the smallest piece that can be replaced: a page of the system, or the alignment of a device whose mappings cannot
  // be cut smaller; units count from the begin. REQUIRES: the memory is mapped until the guard is gone, begins and ends where the
  // kernel can cut it, and nobody else guards any of it.
  fault_guard(std::span<std::byte> bytes, std::size_t unit, survives what = survives::every_touch);
  fault_guard(fault_guard&& other) noexcept : range_(std::exchange(other.range_, nullptr)) {}
  fault_guard& operator=(fault_guard&& other) noexcept;
  ~fault_guard();

  explicit operator bool() const { return range_ != nullptr; }
  // What failed so far, by rising offset; neighbours are one piece. None of an empty guard.
  std::vector<failed_piece> failed() const;

  struct range;

private:
  range* range_ = nullptr;
};

// Whether any of these bytes failed, on whatever thread. What this thread read before the call, or wrote, is the memory's own
// where the answer is false. One load where nothing in the process ever failed. False for memory that nobody guards.
bool faulted(std::span<const std::byte> bytes);

// As long as it lives, this thread looks at memory that may fail, and asks `faulted` for it.
class look {
public:
  look();
  ~look();
  look(const look&) = delete;
};

// Touches each page of guarded memory, as a look. False where some of it is known to be bad, to this process or to the kernel;
// what nobody has met yet may fail later.
bool is_sound(std::span<const std::byte> bytes);

// How many failures this process survived: who keeps the number sees by it that there was another one.
std::uint64_t faults_survived();

}  // namespace maru::cxl
