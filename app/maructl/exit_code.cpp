#include "app/maructl/exit_code.hpp"

namespace maru::ctl {

exit_code exit_code_of(ec code) {
  switch (code) {
    case ec::ok: return exit_code::ok;
    case ec::missing:
    case ec::not_pinned:
    case ec::gone: return exit_code::not_found;
    case ec::bad_option: return exit_code::usage;
    case ec::unavailable:
    case ec::timeout:
    case ec::stopping: return exit_code::unreachable;
    case ec::exists:
    case ec::pinned:
    case ec::not_granted:
    case ec::busy:
    case ec::too_large:
    case ec::invalid:
    case ec::out_of_memory:
    case ec::version_mismatch:
    case ec::refused: return exit_code::refused;
    case ec::unknown_contents: return exit_code::foreign;
    case ec::in_use: return exit_code::in_use;
    case ec::session_over:
    case ec::io:
    case ec::no_space:
    case ec::corrupt:
    case ec::memory_failed:
    case ec::storage_failed: return exit_code::other;
  }
  return exit_code::other;
}

}  // namespace maru::ctl
