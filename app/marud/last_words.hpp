// What marud says as memory ends it that fails where it keeps its own facts.
#pragma once

namespace maru::daemon {

// From here on a SIGBUS that nobody else deals with is told of in one line on stderr, before it ends the process as ever.
// REQUIRES: called before anybody guards memory (cxl/fault_guard.hpp passes on what is not its own).
void prepare_last_words();

}  // namespace maru::daemon
