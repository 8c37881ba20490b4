// SIGINT and SIGTERM as a question that loops ask: whoever waits returns, destructors stop the children and remove the
// temporary folders.
#pragma once

#include <chrono>

#include "base/error.hpp"

namespace maru::bench {

// Takes both signals over; call once, first thing. A second signal ends the process at once.
void catch_interrupts();

bool interrupted();

// Sleeps this long, or less when interrupted.
void pause_for(std::chrono::milliseconds time);

inline error interrupt_error() { return {ec::stopping, "failed to finish: interrupted"}; }

}  // namespace maru::bench
